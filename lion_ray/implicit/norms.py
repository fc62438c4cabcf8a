"""Norms of one sample at a time, and the relative residual of an equilibrium.

Each reduction runs inside one sample and over contiguous memory, so the other samples of the batch cannot change its
bits. The cell contracts in the largest-entry norm and its transpose in the sum norm. `solvers.solve` and the solvers
call these functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Norm: TypeAlias = Callable[[Tensor], Tensor]


def flat(x: Tensor) -> Tensor:
    """Flatten each sample to (B, n) in the order of memory. A channels_last state is viewed, not copied."""
    if x.dim() == 4 and not x.is_contiguous():
        x = x.permute(0, 2, 3, 1)
    return x.contiguous().flatten(1)


def max_norm(x: Tensor) -> Tensor:
    """The largest absolute entry of each sample, (B, ...) to (B,). NaN stays NaN."""
    return flat(x).abs().amax(1)


def sum_norm(x: Tensor) -> Tensor:
    """The sum of absolute entries of each sample, (B, ...) to (B,)."""
    return flat(x).abs().sum(1)


def distance_and_residual(z: Tensor, value: Tensor, norm: Norm) -> tuple[Tensor, Tensor]:
    """The distance ||f(z) - z|| and the residual, which is the distance divided by ||f(z)||.

    The divisor is at least the smallest normal number. The exact equilibrium f(z) = z = 0 thus has residual 0, and any
    other z with f(z) = 0 has a large one. A non-finite sample has a non-finite residual.

    Args:
        z: (B, ...) the points.
        value: (B, ...) f(z).
        norm: maps (B, ...) to one norm per sample, (B,).

    Returns:
        Distance (B,) and residual (B,).
    """
    distance = norm(value - z)
    return distance, distance / norm(value).clamp_min(torch.finfo(value.dtype).tiny)
