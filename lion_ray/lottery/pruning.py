"""Pruning: pure functions from scores and a mask to the next, smaller mask.

Exactly `round(share · alive)` weights are pruned, or all but `round(density · weights)`. Equal scores are pruned in the
order of the weights' names and positions, so every worker, machine and repetition prunes the same weights.
`lion_ray.lottery.rounds` calls `prune` (docs/method.md, *Lottery rounds*).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lion_ray.config import LotteryConfig, OneShot
from lion_ray.lottery.mask import Mask, Weights


def prune(scores: Weights, mask: Mask, config: LotteryConfig, number: int) -> Mask:
    """The mask of the next round, nested in `mask`. The surviving weights with the lowest scores are pruned.

    Args:
        scores: a tensor of the weight's shape for every name of the mask (`lion_ray.lottery.criteria`).
        mask: the mask of the round before.
        config: the amount to prune, whether a layer may lose all its weights, and the scope. `layer` ranks each layer
            alone, `global` ranks all weights together, and `normalised` does so after it has divided each score by the
            mean score of its layer's surviving weights.
        number: the number of the next round, at least 1.
    """
    scores = {name: scores[name].detach().double().cpu() for name in mask.alive}
    if config.scope == "normalised":
        scores = {name: _normalised(score, mask.alive[name]) for name, score in scores.items()}
    names = sorted(mask.alive)
    groups = [[name] for name in names] if config.scope == "layer" else [names]
    pruned: dict[str, Tensor] = {}
    for group in groups:
        pruned |= _prune_group(scores, mask, group, config, number)
    # sorted, as in files: robust training breaks ties in this order, and a resumed round has to break them alike
    return Mask(alive={name: pruned[name] for name in names})


def _normalised(score: Tensor, alive: Tensor) -> Tensor:
    """The scores of a layer over the mean of its surviving weights, which removes the scale of its initialisation."""
    total = float(score[alive].sum())
    return score * (int(alive.sum()) / total) if total else score


def _prune_group(
    scores: Weights, mask: Mask, names: list[str], config: LotteryConfig, number: int
) -> dict[str, Tensor]:
    """Rank the surviving weights of `names` together and prune the lowest."""
    alive = torch.cat([mask.alive[name].reshape(-1) for name in names])
    score = torch.cat([scores[name].reshape(-1) for name in names])
    prunable = alive.clone()
    if not config.allow_dead_layers:
        prunable[_best_of_each(scores, mask, names)] = False
    candidates = prunable.nonzero().squeeze(1)
    count = min(num_to_prune(int(alive.sum()), len(alive), config, number), len(candidates))
    lowest = torch.sort(score[candidates], stable=True).indices[:count]
    alive = alive.clone()
    alive[candidates[lowest]] = False
    parts = torch.split(alive, [mask.alive[name].numel() for name in names])
    return {name: part.reshape(mask.alive[name].shape).clone() for name, part in zip(names, parts, strict=True)}


def num_to_prune(num_alive: int, num_weights: int, config: LotteryConfig, number: int) -> int:
    """The number of weights that are pruned before a round: `round(share · alive)`, or all above the target density.

    Args:
        num_alive: the number of surviving weights.
        num_weights: the number of all prunable weights.
        config: its `prune` is a share, a list of densities or one density.
        number: the number of the next round, at least 1.
    """
    if isinstance(config.prune, float):
        return round(config.prune * num_alive)
    density = config.prune.one_shot if isinstance(config.prune, OneShot) else config.prune[number - 1]
    return max(0, num_alive - round(density * num_weights))


def _best_of_each(scores: Weights, mask: Mask, names: list[str]) -> list[int]:
    """The position of the best surviving weight of each layer, in the concatenation of `names`; it is not pruned."""
    best, offset = [], 0
    for name in names:
        alive = mask.alive[name].reshape(-1)
        if bool(alive.any()):
            best.append(offset + int(scores[name].reshape(-1).masked_fill(~alive, -1.0).argmax()))
        offset += alive.numel()
    return best
