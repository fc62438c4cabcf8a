"""Robust training inside a round: critical weights learn, all others only shrink (docs/method.md, *Robust training*).

It follows CDR (Xia et al., "Robust early-learning", ICLR 2021). Each step ranks the surviving weights of the implicit
layers by |g ⊙ w|, and the top share `tau` is critical. `lion_ray.training.optimizer` takes its steps through
`RobustSteps`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lion_ray.config import RobustConfig
from lion_ray.lottery.mask import Mask

MOMENTA = (
    "exp_avg",
    "momentum_buffer",
)  # Adam's and SGD's; Adam's second moment decays without gradient


class RobustSteps:
    """Optimizer steps in which only critical weights learn; all other prunable weights shrink.

    Args:
        config: the share `tau` of critical weights, and the shrinkage.
        weights: the prunable weights of the model. Biases and the classifier always learn.
        mask: the round's mask on the weights' device. Pruned weights are not ranked, and `tau` is a share of the
            surviving weights.
    """

    def __init__(self, config: RobustConfig, weights: Mapping[str, nn.Parameter], mask: Mask) -> None:
        self._config = config
        self._weights = [weight for name, weight in weights.items() if name in mask.alive]
        self._alive = [mask.alive[name] for name in weights if name in mask.alive]
        self._num_critical = round(config.tau * sum(int(alive.sum()) for alive in self._alive))

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take an ordinary step for critical weights; set the others to `sign(w) max(|w| - rate · shrinkage, 0)`."""
        others = [alive & ~top for alive, top in zip(self._alive, self._critical(), strict=True)]
        before = [weight.clone() for weight in self._weights]
        for weight, other in zip(self._weights, others, strict=True):
            if weight.grad is not None:
                weight.grad.masked_fill_(other, 0.0)
        optimizer.step()
        rates = {id(parameter): group["lr"] for group in optimizer.param_groups for parameter in group["params"]}
        for weight, old, other in zip(self._weights, before, others, strict=True):
            shrunk = nn.functional.softshrink(old, rates[id(weight)] * self._config.shrinkage)
            weight.copy_(torch.where(other, shrunk, weight))
            for name in MOMENTA:
                momentum = optimizer.state[weight].get(name)
                if momentum is not None:
                    momentum.masked_fill_(other, 0.0)

    def _critical(self) -> list[Tensor]:
        """One boolean tensor per weight: the top `round(tau · alive)` of |g ⊙ w| over all weights, stable in ties."""
        scores = [torch.zeros_like(w) if w.grad is None else (w.grad * w).abs() for w in self._weights]
        ranked = [torch.where(alive, score, -1.0).flatten() for score, alive in zip(scores, self._alive, strict=True)]
        chosen = top(torch.cat(ranked), self._num_critical)  # pruned entries rank last
        parts = torch.split(chosen, [alive.numel() for alive in self._alive])
        return [part.view_as(alive) for part, alive in zip(parts, self._alive, strict=True)]


def top(scores: Tensor, count: int) -> Tensor:
    """True at exactly the `count` highest of `scores` (N,), boolean (N,). Of equal scores the first ones count."""
    if count == 0:
        return torch.zeros_like(scores, dtype=torch.bool)
    threshold = scores.topk(count, sorted=False).values.min()  # kthvalue has no deterministic form on CUDA
    above, ties = scores > threshold, scores == threshold
    return above | (ties & (ties.cumsum(0) <= count - above.sum()))
