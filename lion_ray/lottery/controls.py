"""Controls of a winning ticket. A control is trained once beside a pruned round, and no later round starts from it.

`random_ticket` keeps the same number of weights per layer, drawn at random, and trains from the same start. `reinit`
trains the same mask from fresh weights (Frankle & Carbin, ICLR 2019, figure 4). Neither the lottery nor its stopping
rule reads a control. `lion_ray.lottery.rounds` calls `random_mask`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lion_ray.lottery.criteria import draws
from lion_ray.lottery.mask import Mask


def random_mask(mask: Mask, seed: int) -> Mask:
    """A mask with as many surviving weights in each layer as `mask` has, drawn uniformly with `seed`."""
    drawn = draws(mask, seed)
    return Mask(alive={name: _highest(drawn[name], int(entry.sum())) for name, entry in mask.alive.items()})


def _highest(values: Tensor, count: int) -> Tensor:
    """True at the `count` highest of `values`; boolean, of the shape of `values`."""
    chosen = torch.zeros(values.numel(), dtype=torch.bool)
    chosen[torch.sort(values.reshape(-1), descending=True, stable=True).indices[:count]] = True
    return chosen.reshape(values.shape)
