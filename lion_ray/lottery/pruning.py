"""Which weights go: pure functions from trained weights and a mask to the next, smaller mask.

Exactly `round(share · alive)` weights go. Ties fall in the order of the weights' names and positions, so every worker,
machine and repetition prunes the same ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lion_ray.config import LotteryConfig
from lion_ray.lottery.mask import Mask, Weights


def prune(weights: Weights, mask: Mask, config: LotteryConfig) -> Mask:
    """The mask of the next round, nested in `mask`: magnitude pruning of `config.prune` of what is alive.

    Args:
        weights: trained weights by name; those that `mask` names are pruned.
        mask: the round that trained them.
        config: share, scope (`global` ranks all layers together, `layer` each alone), whether a layer may die.
    """
    scores = {name: weights[name].detach().abs().double().cpu() for name in mask.alive}
    names = sorted(mask.alive)
    groups = [names] if config.scope == "global" else [[name] for name in names]
    pruned: dict[str, Tensor] = {}
    for group in groups:
        pruned |= _prune_group(scores, mask, group, config)
    return Mask(alive={name: pruned[name] for name in mask.alive})


def _prune_group(scores: Weights, mask: Mask, names: list[str], config: LotteryConfig) -> dict[str, Tensor]:
    """Rank the alive weights of `names` together and drop the lowest."""
    alive = torch.cat([mask.alive[name].reshape(-1) for name in names])
    score = torch.cat([scores[name].reshape(-1) for name in names])
    prunable = alive.clone()
    if not config.allow_dead_layers:
        prunable[_best_of_each(scores, mask, names)] = False
    candidates = prunable.nonzero().squeeze(1)
    count = min(num_to_prune(int(alive.sum()), config.prune), len(candidates))
    lowest = torch.sort(score[candidates], stable=True).indices[:count]
    alive = alive.clone()
    alive[candidates[lowest]] = False
    parts = torch.split(alive, [mask.alive[name].numel() for name in names])
    return {name: part.reshape(mask.alive[name].shape).clone() for name, part in zip(names, parts, strict=True)}


def num_to_prune(num_alive: int, share: float) -> int:
    """Exactly `round(share · num_alive)`, halves to even."""
    return round(share * num_alive)


def _best_of_each(scores: Weights, mask: Mask, names: list[str]) -> list[int]:
    """Positions, in the concatenation of `names`, of each living layer's strongest weight: a layer may not die."""
    best, offset = [], 0
    for name in names:
        alive = mask.alive[name].reshape(-1)
        if bool(alive.any()):
            best.append(offset + int(scores[name].reshape(-1).masked_fill(~alive, -1.0).argmax()))
        offset += alive.numel()
    return best
