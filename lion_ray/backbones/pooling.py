"""Means over the fields of a map, with a gradient that has the same bits each time also on CUDA."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def averaged(maps: Tensor, size: int) -> Tensor:
    """Maps (B, C, H, W) averaged to (B, C, size, size), as `adaptive_avg_pool2d` does it.

    Its gradient on CUDA adds in any order, which is refused where bits count: there it is two products.
    """
    if maps.device.type == "cpu" or not torch.are_deterministic_algorithms_enabled():
        return F.adaptive_avg_pool2d(maps, size)
    return averaged_by_products(maps, size)


def averaged_by_products(maps: Tensor, size: int) -> Tensor:
    """The same as `rows @ maps @ columns`."""
    rows, columns = (_means(length, size, maps.dtype, maps.device) for length in maps.shape[2:])
    return rows @ maps @ columns.T


@functools.cache
def _means(length: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(size, length): each row has the mean over one field, which overlaps its neighbours where `size` does not fit."""
    with torch.inference_mode(False):
        rows = torch.zeros(size, length, dtype=dtype)
        for field in range(size):
            first, end = field * length // size, -(-(field + 1) * length // size)
            rows[field, first:end] = 1 / (end - first)
        return rows.to(device)
