"""A linear map whose result for a row does not depend on the row's position in the batch.

A BLAS library uses other kernels for the last rows of a matrix, so the same row can have other last bits at another
position. With MKL this was measured for most shapes that are no multiple of 8, in fp32 and float64, and it also depends
on the number of threads. Zero padding to 16 rows and 8 features avoids it, forward and backward: in 12 x 11 x 7 shapes
with 1 to 3 threads no row differs. The cells and `patches` use this map.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

ROW_TILE, FEATURE_TILE = 16, 8


def linear_rows(x: Tensor, weight: Tensor) -> Tensor:
    """x weight^T over the last dimension: x (..., n), weight (m, n), result (..., m), contiguous, without autocast."""
    if torch.compiler.is_exporting():  # padding would fix the batch size of an exported graph
        return F.linear(x, weight)
    rows = x.reshape(-1, weight.shape[1])
    result: Tensor = _LinearRows.apply(rows, weight) if torch.is_grad_enabled() else _padded_product(rows, weight)
    return result.reshape(*x.shape[:-1], weight.shape[0])


class _LinearRows(torch.autograd.Function):
    """The product of rows (N, n) and the transposed weight (m, n), (N, m)."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _padded_product(rows, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of rows and weight. A product with one short side is 10 x faster with that side first (MKL)."""
        (rows, weight), (needs_rows, needs_weight) = ctx.saved_tensors, ctx.needs_input_grad
        with torch.autocast(grad.device.type, enabled=False):
            rows_grad = _padded_product(grad, weight.t()) if needs_rows else None
            if not needs_weight:
                return rows_grad, None
            is_thin = weight.shape[0] <= weight.shape[1]
            return rows_grad, grad.t() @ rows if is_thin else (rows.t() @ grad).t()


def _padded_product(rows: Tensor, weight: Tensor) -> Tensor:
    (num_rows, num_inputs), num_outputs = rows.shape, weight.shape[0]
    missing_inputs = -num_inputs % FEATURE_TILE
    padded = _pad(rows, -num_rows % ROW_TILE, missing_inputs)
    weight = _pad(weight, -num_outputs % FEATURE_TILE, missing_inputs)
    if torch.is_autocast_enabled(rows.device.type):  # entering the context costs more than a small product
        with torch.autocast(rows.device.type, enabled=False):
            result = F.linear(padded, weight)
    else:
        result = F.linear(padded, weight)
    if result.shape == (num_rows, num_outputs):
        return result
    return result[:num_rows, :num_outputs].clone(memory_format=torch.contiguous_format)


def _pad(matrix: Tensor, rows: int, columns: int) -> Tensor:
    if not rows:  # torch 2.9 raises if it pads 0 rows of an empty matrix
        return F.pad(matrix, (0, columns)) if columns else matrix
    return F.pad(matrix, (0, columns, 0, rows))
