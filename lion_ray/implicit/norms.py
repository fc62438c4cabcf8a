"""Norms of one sample at a time, and the relative residual of an equilibrium.

Each reduction runs inside one sample, over contiguous memory: a neighbour's value or place cannot change it.
The cell contracts in the largest-entry norm, its transpose in the sum norm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Norm: TypeAlias = Callable[[Tensor], Tensor]


def flat(x: Tensor) -> Tensor:
    """Each sample's entries in the order of memory, (B, n); channels_last states are viewed, not copied."""
    if x.dim() == 4 and not x.is_contiguous():
        x = x.permute(0, 2, 3, 1)
    return x.contiguous().flatten(1)


def max_norm(x: Tensor) -> Tensor:
    """Largest absolute entry of each sample: (B, ...) -> (B,). NaN stays NaN."""
    return flat(x).abs().amax(1)


def sum_norm(x: Tensor) -> Tensor:
    """Sum of absolute entries of each sample: (B, ...) -> (B,)."""
    return flat(x).abs().sum(1)


def distance_and_residual(z: Tensor, value: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """||f(z) - z|| and that distance relative to ||f(z)||, both (B,).

    The scale is floored at the smallest normal number: f(z) = z = 0 is an exact equilibrium with residual 0, while
    anything else compared with zero stays large. A non-finite sample has a non-finite residual.
    """
    distance = norm(value - z)
    return distance, distance / norm(value).clamp_min(torch.finfo(value.dtype).tiny)
