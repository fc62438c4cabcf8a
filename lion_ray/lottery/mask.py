"""Masks: an immutable value that says which prunable weights survive.

`lion_ray.lottery.pruning` makes masks, `lion_ray.training.optimizer` applies them to gradients and weights in every
step, and `lion_ray.ticket` stores them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor, nn

Weights = Mapping[str, Tensor]
_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask:
    """One boolean tensor per prunable weight, of the weight's shape. True means that an entry survives ("is alive").

    Raises:
        ValueError: a tensor is not boolean.
    """

    alive: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        wrong = [name for name, entry in self.alive.items() if entry.dtype != torch.bool]
        if wrong:
            raise ValueError(f"mask entries must be boolean, these are not: {', '.join(wrong)}")

    @classmethod
    def dense(cls, weights: Weights) -> Mask:
        """The mask under which all `weights` survive."""
        return cls(alive={name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in weights.items()})

    @property
    def num_weights(self) -> int:
        """The number of prunable weights, pruned or not."""
        return sum(entry.numel() for entry in self.alive.values())

    @property
    def num_alive(self) -> int:
        """The number of surviving weights."""
        return sum(int(entry.sum()) for entry in self.alive.values())

    @property
    def density(self) -> float:
        """`num_alive / num_weights`; 1 for a method without prunable weights."""
        return self.num_alive / self.num_weights if self.num_weights else 1.0

    def is_within(self, other: Mask) -> bool:
        """Whether both masks have the same names and every weight that survives here survives in `other`."""
        same_names = self.alive.keys() == other.alive.keys()
        return same_names and all(not bool((entry & ~other.alive[name]).any()) for name, entry in self.alive.items())

    def equals(self, other: Mask) -> bool:
        """Whether the same weights survive in both masks."""
        return self.is_within(other) and other.is_within(self)

    def on(self, device: torch.device) -> Mask:
        """The same mask with its tensors on `device`."""
        return Mask(alive={name: entry.to(device) for name, entry in self.alive.items()})

    @torch.no_grad()
    def zero_(self, weights: Weights) -> None:
        """Set the pruned entries of `weights` to exactly 0, in place. NaN and infinite entries become 0 too."""
        for name, entry in self.alive.items():
            weights[name].masked_fill_(~entry, 0.0)

    def applied(self, weights: Weights) -> dict[str, Tensor]:
        """A copy of `weights` whose pruned entries are 0. Weights without a mask are copied unchanged."""
        copies = {name: weight.detach().clone() for name, weight in weights.items()}
        self.zero_(copies)
        return copies


class PrunedEntries:
    """The pruned entries of `weights`, which every step of a round sets to 0.

    A bitwise and with the mask does this. On a CPU it is ten times faster than `masked_fill_`, and unlike a product it
    also clears NaN and infinite entries. `mask` has to be on the device of the weights.
    """

    def __init__(self, mask: Mask, weights: Mapping[str, nn.Parameter]) -> None:
        self._masked = [
            (weights[n], _bits(weights[n], alive)) for n, alive in mask.alive.items() if not bool(alive.all())
        ]

    @torch.no_grad()
    def zero_(self) -> None:
        """Set the pruned entries of the weights to 0, in place."""
        for weight, bits in self._masked:
            weight.view(bits.dtype).bitwise_and_(bits)

    @torch.no_grad()
    def zero_gradients_(self) -> None:
        """Set the pruned entries of the gradients to 0, in place, so that no moment, norm or score contains them."""
        for weight, bits in self._masked:
            if weight.grad is not None:
                weight.grad.view(bits.dtype).bitwise_and_(bits)


def _bits(weight: Tensor, alive: Tensor) -> Tensor:
    """Integers of the weight's element size: all bits are 1 where it survives and 0 where it is pruned."""
    return torch.empty_like(weight, dtype=_BITS[weight.element_size()], requires_grad=False).copy_(alive).neg_()
