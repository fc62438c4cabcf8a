"""Which prunable weights are alive: a value that validates itself and never changes.

`pruning` makes masks, `optimizer` applies them to gradients and weights in every step, `ticket` packs them.
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
    """One boolean tensor per prunable weight, of the weight's shape; True is alive.

    Raises:
        ValueError: an entry is not boolean.
    """

    alive: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        wrong = [name for name, entry in self.alive.items() if entry.dtype != torch.bool]
        if wrong:
            raise ValueError(f"mask entries must be boolean, these are not: {', '.join(wrong)}")

    @classmethod
    def dense(cls, weights: Weights) -> Mask:
        """Everything alive."""
        return cls(alive={name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in weights.items()})

    @property
    def num_weights(self) -> int:
        """All prunable weights, dead or alive."""
        return sum(entry.numel() for entry in self.alive.values())

    @property
    def num_alive(self) -> int:
        """The surviving weights."""
        return sum(int(entry.sum()) for entry in self.alive.values())

    @property
    def density(self) -> float:
        """`num_alive / num_weights`; 1 for a method with nothing to prune."""
        return self.num_alive / self.num_weights if self.num_weights else 1.0

    def is_within(self, other: Mask) -> bool:
        """Whether every weight alive here is alive in `other`: rounds nest."""
        same_names = self.alive.keys() == other.alive.keys()
        return same_names and all(not bool((entry & ~other.alive[name]).any()) for name, entry in self.alive.items())

    def equals(self, other: Mask) -> bool:
        """Whether the same weights are alive."""
        return self.is_within(other) and other.is_within(self)

    def on(self, device: torch.device) -> Mask:
        """The same mask with its tensors on `device`."""
        return Mask(alive={name: entry.to(device) for name, entry in self.alive.items()})

    @torch.no_grad()
    def zero_(self, weights: Weights) -> None:
        """Set pruned entries of `weights` to exactly 0, in place, whatever they hold."""
        for name, entry in self.alive.items():
            weights[name].masked_fill_(~entry, 0.0)

    def applied(self, weights: Weights) -> dict[str, Tensor]:
        """A copy of `weights` with pruned entries 0; names without a mask are copied as they are."""
        copies = {name: weight.detach().clone() for name, weight in weights.items()}
        self.zero_(copies)
        return copies


class DeadEntries:
    """The pruned entries of `weights`, which every step of a round sets to 0.

    By a bitwise and: on a CPU ten times faster than `masked_fill_`, and unlike a product it leaves nothing of what is
    not finite. `mask` is on the weights' device.
    """

    def __init__(self, mask: Mask, weights: Mapping[str, nn.Parameter]) -> None:
        self._kept = [(weights[name], _bits(weights[name], e)) for name, e in mask.alive.items() if not bool(e.all())]

    @torch.no_grad()
    def zero_(self) -> None:
        """In the weights, in place."""
        for weight, bits in self._kept:
            weight.view(bits.dtype).bitwise_and_(bits)

    @torch.no_grad()
    def zero_gradients_(self) -> None:
        """In the gradients, in place: no moment, norm or score sees them."""
        for weight, bits in self._kept:
            if weight.grad is not None:
                weight.grad.view(bits.dtype).bitwise_and_(bits)


def _bits(weight: Tensor, alive: Tensor) -> Tensor:
    """Integers of the weight's size, all bits 1 where it is alive and 0 where not."""
    return torch.empty_like(weight, dtype=_BITS[weight.element_size()], requires_grad=False).copy_(alive).neg_()
