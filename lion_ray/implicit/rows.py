"""A linear map whose rows do not depend on their place in the batch.

A BLAS picks other kernels for the ragged edge of a matrix, so the same row gives other last bits at another place
(measured with MKL: most shapes that are no multiple of 8, in fp32 and float64, also by thread count). Padding rows to
16 and features to 8 with zeros removes the edge, forward and backward (12 x 11 x 7 shapes at 1 to 3 threads: no row
differs). Used by the cells and by prompts.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

ROW_TILE, FEATURE_TILE = 16, 8


def linear_rows(x: Tensor, weight: Tensor) -> Tensor:
    """x weight^T over the last dimension: (..., n), (m, n) -> (..., m), contiguous. Autocast does not enter."""
    if torch.compiler.is_exporting():  # a served graph takes any batch size, and padding would tie it to one
        return F.linear(x, weight)
    rows = x.reshape(-1, weight.shape[1])
    result: Tensor = _LinearRows.apply(rows, weight) if torch.is_grad_enabled() else _padded_product(rows, weight)
    return result.reshape(*x.shape[:-1], weight.shape[0])


class _LinearRows(torch.autograd.Function):
    """Rows (N, n) and weight (m, n) to (N, m)."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weight)
        return _padded_product(rows, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of rows and weight; a long thin product is fastest with its thin side first (10 x, MKL)."""
        (rows, weight), (wants_rows, wants_weight) = ctx.saved_tensors, ctx.needs_input_grad
        with torch.autocast(grad.device.type, enabled=False):
            to_rows = _padded_product(grad, weight.t()) if wants_rows else None
            if not wants_weight:
                return to_rows, None
            is_thin = weight.shape[0] <= weight.shape[1]
            return to_rows, grad.t() @ rows if is_thin else (rows.t() @ grad).t()


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
    if not rows:  # torch 2.9 pads no rows of no rows
        return F.pad(matrix, (0, columns)) if columns else matrix
    return F.pad(matrix, (0, columns, 0, rows))
