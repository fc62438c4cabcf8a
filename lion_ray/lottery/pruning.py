"""Which weights go: pure functions from scores and a mask to the next, smaller mask.

Exactly `round(share · alive)` weights go, or all but `round(density · weights)`. Ties fall in the order of the weights'
names and positions, so every worker, machine and repetition prunes the same ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lion_ray.config import LotteryConfig, OneShot
from lion_ray.lottery.mask import Mask, Weights


def prune(scores: Weights, mask: Mask, config: LotteryConfig, number: int) -> Mask:
    """The mask of round `number` >= 1, nested in `mask`: the lowest scores of what is alive go.

    Args:
        scores: by name, of the weights' shapes, for every name of the mask (`criteria`).
        mask: the round before.
        config: how many, whether a layer may die, and the scope: `layer` ranks each layer alone, `normalised` all
            together by their scores over the mean of their layer's living ones, `global` all together as they are.
    """
    scores = {name: scores[name].detach().double().cpu() for name in mask.alive}
    if config.scope == "normalised":
        scores = {name: _normalised(score, mask.alive[name]) for name, score in scores.items()}
    names = sorted(mask.alive)
    groups = [[name] for name in names] if config.scope == "layer" else [names]
    pruned: dict[str, Tensor] = {}
    for group in groups:
        pruned |= _prune_group(scores, mask, group, config, number)
    # the order in which files list layers, for robust training breaks its ties by it: a resumed round has to as well
    return Mask(alive={name: pruned[name] for name in names})


def _normalised(score: Tensor, alive: Tensor) -> Tensor:
    """Over the mean of the living: then a layer's scale, which is that of its initialisation, does not count."""
    total = float(score[alive].sum())
    return score * (int(alive.sum()) / total) if total else score


def _prune_group(
    scores: Weights, mask: Mask, names: list[str], config: LotteryConfig, number: int
) -> dict[str, Tensor]:
    """Rank the alive weights of `names` together and drop the lowest."""
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
    """How many of `num_alive` go before round `number`: `round(share · alive)`, or what is above the target density."""
    if isinstance(config.prune, float):
        return round(config.prune * num_alive)
    density = config.prune.one_shot if isinstance(config.prune, OneShot) else config.prune[number - 1]
    return max(0, num_alive - round(density * num_weights))


def _best_of_each(scores: Weights, mask: Mask, names: list[str]) -> list[int]:
    """Positions, in the concatenation of `names`, of each living layer's strongest weight: a layer may not die."""
    best, offset = [], 0
    for name in names:
        alive = mask.alive[name].reshape(-1)
        if bool(alive.any()):
            best.append(offset + int(scores[name].reshape(-1).masked_fill(~alive, -1.0).argmax()))
        offset += alive.numel()
    return best
