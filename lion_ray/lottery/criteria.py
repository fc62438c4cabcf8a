"""Pruning criteria. Each gives one score per prunable weight of a finished round, and the lowest scores are pruned.

`magnitude` is |w| (Han et al., 2015). `gradient_weight` is |g ⊙ w| summed over the round's last epoch (after SNIP, Lee
et al., ICLR 2019); `lion_ray.training` measures it. `random` draws scores as a control. `lion_ray.lottery.rounds` calls
`scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lion_ray.lottery.mask import Mask, Weights
from lion_ray.lottery.round import Round


def scores(criterion: str, finished: Round, seed_for: Callable[[str], int]) -> Weights:
    """The scores by which the round after `finished` is pruned.

    Args:
        criterion: `magnitude`, `gradient_weight` or `random`.
        finished: the last round.
        seed_for: gives the seed for a purpose; `random` draws with the purpose `prune/<round>`.

    Returns:
        A tensor of the weight's shape for each name of the mask. Scores of pruned weights have no meaning.
    """
    if criterion == "magnitude":
        return {name: finished.weights[name].detach().abs() for name in finished.mask.alive}
    if criterion == "gradient_weight":
        return finished.scores
    return draws(finished.mask, seed_for(f"prune/{finished.number + 1}"))


def draws(mask: Mask, seed: int) -> dict[str, Tensor]:
    """One uniform float64 draw in [0, 1) per weight. The names are drawn in sorted order."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(mask.alive[name].shape, generator=generator, dtype=torch.float64)
        for name in sorted(mask.alive)
    }


class Sensitivity:
    """Sums |g ⊙ w| over training steps. Call `add` after each backward pass and before the optimizer's step."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights
        self._sums = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in weights.items()}

    @torch.no_grad()
    def add(self) -> None:
        """Add |g ⊙ w| of the gradients that the weights hold now."""
        for name, weight in self._weights.items():
            if weight.grad is not None:
                self._sums[name] += (weight.grad * weight).abs()

    def scores(self) -> dict[str, Tensor]:
        """The sums so far, as contiguous float32 tensors on the CPU."""
        return {name: total.float().cpu().contiguous() for name, total in self._sums.items()}
