"""What makes a weight worth keeping: one score per prunable weight, from a finished round.

`magnitude` |w| (Han et al., 2015); `gradient_weight` |g ⊙ w| summed over the round's last epoch (after SNIP, Lee et
al., ICLR 2019), which `training` measures; `random`, the control.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lion_ray.lottery.mask import Mask, Weights
from lion_ray.lottery.round import Round


def scores(criterion: str, finished: Round, seed_for: Callable[[str], int]) -> Weights:
    """The scores by which the round after `finished` is pruned; only living weights' matter."""
    if criterion == "magnitude":
        return {name: finished.weights[name].detach().abs() for name in finished.mask.alive}
    if criterion == "gradient_weight":
        return finished.scores
    return draws(finished.mask, seed_for(f"prune/{finished.number + 1}"))


def draws(mask: Mask, seed: int) -> dict[str, Tensor]:
    """One uniform float64 draw per weight, name by name in sorted order."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(mask.alive[name].shape, generator=generator, dtype=torch.float64)
        for name in sorted(mask.alive)
    }


class Sensitivity:
    """Sums |g ⊙ w| over training steps; `add` after the backward pass, before the optimizer's step."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._sums = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}

    @torch.no_grad()
    def add(self) -> None:
        """One step's share."""
        for name, weight in self._weights.items():
            if weight.grad is not None:
                self._sums[name] += (weight.grad * weight).abs()

    def scores(self) -> dict[str, Tensor]:
        """The sums so far, float32 on the CPU, as a store keeps them."""
        return {name: total.float().cpu().contiguous() for name, total in self._sums.items()}
