"""A linear map whose rows do not depend on their place in the batch.

A BLAS picks other kernels for the ragged edge of a matrix, so the same row gives other last bits at another place
(measured with MKL: most shapes that are no multiple of 8, in fp32 and float64, also by thread count). Padding rows and
features with zeros to whole tiles removes the edge, forward and backward. Used by `cells.LinearCell`.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

TILE = 16


def linear_rows(x: Tensor, weight: Tensor) -> Tensor:
    """x weight^T over the last dimension: (..., n), (m, n) -> (..., m), contiguous."""
    num_outputs, num_inputs = weight.shape
    rows = x.reshape(-1, num_inputs)
    padded = _pad(rows, _missing(rows.shape[0]), _missing(num_inputs))
    result = F.linear(padded, _pad(weight, _missing(num_outputs), _missing(num_inputs)))
    return result[: rows.shape[0], :num_outputs].reshape(*x.shape[:-1], num_outputs).contiguous()


def _missing(size: int) -> int:
    return -size % TILE


def _pad(matrix: Tensor, rows: int, columns: int) -> Tensor:
    return F.pad(matrix, (0, columns, 0, rows)) if rows or columns else matrix
