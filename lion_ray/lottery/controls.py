"""What a winning ticket is compared with: branches beside a pruned round that train once and that nothing follows.

`random_ticket`: as many weights alive per layer, drawn at random, from the same start. `reinit`: the same mask on fresh
weights. (Frankle & Carbin, ICLR 2019, figure 4.) No branch is read by the lottery or by its stopping rule.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lion_ray.lottery.criteria import draws
from lion_ray.lottery.mask import Mask


def random_mask(mask: Mask, seed: int) -> Mask:
    """As many alive in each layer as in `mask`, drawn uniformly."""
    drawn = draws(mask, seed)
    return Mask(alive={name: _highest(drawn[name], int(entry.sum())) for name, entry in mask.alive.items()})


def _highest(values: Tensor, count: int) -> Tensor:
    """Boolean, of the shape of `values`: its `count` highest."""
    chosen = torch.zeros(values.numel(), dtype=torch.bool)
    chosen[torch.sort(values.reshape(-1), descending=True, stable=True).indices[:count]] = True
    return chosen.reshape(values.shape)
