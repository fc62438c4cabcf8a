"""Means over the fields of a map, and resized images, with a gradient that has the same bits each time also on CUDA.

The gradients of PyTorch's own add in any order there, and are refused where bits count: there both are two products.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def averaged(maps: Tensor, size: int) -> Tensor:
    """Maps (B, C, H, W) averaged to (B, C, size, size), as `adaptive_avg_pool2d` does it."""
    return averaged_by_products(maps, size) if _bits_count(maps) else F.adaptive_avg_pool2d(maps, size)


def resized(images: Tensor, size: int) -> Tensor:
    """Images (B, C, H, W) resized to (B, C, size, size), as antialiased bilinear `interpolate` does it."""
    if _bits_count(images):
        return resized_by_products(images, size)
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)


def _bits_count(maps: Tensor) -> bool:
    return maps.device.type != "cpu" and torch.are_deterministic_algorithms_enabled()


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


def resized_by_products(images: Tensor, size: int) -> Tensor:
    """The same as `rows @ images @ columns`."""
    rows, columns = (_weights(length, size, images.dtype, images.device) for length in images.shape[2:])
    return rows @ images @ columns.T


@functools.cache
def _weights(length: int, size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(size, length): each row has the weights of one place, read off what becomes of the identity."""
    with torch.inference_mode(False):
        identity = torch.eye(length, dtype=dtype)[None, None]
        rows = F.interpolate(identity, size=(size, length), mode="bilinear", antialias=True)[0, 0]
        return rows.to(device)
