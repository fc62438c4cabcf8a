"""The two ways between an image and a state at 1/s of its resolution: read patches, and write them back.

Kernel = stride = s, so patches do not overlap and each way is the other's transpose: `read` is a convolution, `write`
one matrix product and one pass that permutes and adds (5 x faster than `conv_transpose2d`). Backward is made of the
same pieces and keeps no cut copy of the image. Used by `convolution.ConvCell` and by the input prompt.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.grad import conv2d_weight

from lion_ray.implicit.rows import linear_rows

LARGEST_CONVOLUTION = 8  # beyond, the weight gradient as a product of cut patches is 3 x faster (oneDNN, AVX2)


def read(images: Tensor, weight: Tensor) -> Tensor:
    """(B, C, H, W) and (c, C, s, s) to (B, c, ceil(H / s), ceil(W / s)); zeros fill the last patches."""
    result: Tensor = _Read.apply(images, weight)
    return result


def write(images: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    """`images` plus the transpose of `read` applied to z; what hangs over the edge is left out. channels_last."""
    result: Tensor = _Write.apply(images, z, weight)
    return result


class _Read(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        return _convolved(images, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (images, weight), (wants_images, wants_weight) = ctx.saved_tensors, ctx.needs_input_grad
        to_images = _written(torch.zeros_like(images), grad, weight) if wants_images else None
        return to_images, _weight_gradient(images, grad, weight) if wants_weight else None


class _Write(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, images: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(z, weight)
        return _written(images, z, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (z, weight), (wants_images, wants_z, wants_weight) = ctx.saved_tensors, ctx.needs_input_grad
        to_z = _convolved(grad, weight) if wants_z else None
        to_weight = _weight_gradient(grad, z, weight) if wants_weight else None
        return grad if wants_images else None, to_z, to_weight


def _convolved(images: Tensor, weight: Tensor) -> Tensor:
    size = weight.shape[-1]
    return F.conv2d(_filled(images, size), weight, stride=size)


def _written(images: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    (batch, channels, height, width), size = images.shape, weight.shape[-1]
    patches = linear_rows(z.permute(0, 2, 3, 1), weight.permute(0, 2, 3, 1).flatten(1).t())
    rows, columns = patches.shape[1:3]
    grid = patches.reshape(batch, rows, columns, size, size * channels).transpose(2, 3)
    pixels = images.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    if (height, width) == (rows * size, columns * size):  # one pass: permutes and adds
        summed = pixels.reshape(batch, rows, size, columns, size * channels) + grid
        return summed.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
    added = grid.reshape(batch, rows * size, columns * size, channels)[:, :height, :width]
    return (pixels + added).permute(0, 3, 1, 2)


def _weight_gradient(images: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    """The gradient of <z, read(images, weight)> with respect to the weight."""
    (count, channels, size, _), images = weight.shape, _filled(images, weight.shape[-1])
    if size <= LARGEST_CONVOLUTION:
        gradient: Tensor = conv2d_weight(images, weight.shape, z, stride=size)  # type: ignore[no-untyped-call]
        return gradient
    batch, _, rows, columns = z.shape
    cut = images.permute(0, 2, 3, 1).reshape(batch, rows, size, columns, size * channels).transpose(2, 3)
    states = z.permute(0, 2, 3, 1).reshape(-1, count)
    product = states.t() @ cut.reshape(len(states), size * size * channels)
    return product.reshape(count, size, size, channels).permute(0, 3, 1, 2)


def _filled(images: Tensor, size: int) -> Tensor:
    """channels_last, and zeros up to a multiple of `size`."""
    missing = (-images.shape[2] % size, -images.shape[3] % size)
    images = F.pad(images, (0, missing[1], 0, missing[0])) if any(missing) else images
    return images.contiguous(memory_format=torch.channels_last)
