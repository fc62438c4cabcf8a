"""Maps between an image and a state at 1/s of its resolution: reading patches, and adding patches to an image.

The kernel size equals the stride s, so patches do not overlap, and each map is the transpose of the other.
`read_patches` is a convolution. `add_patches` is one matrix product and one pass that permutes and adds; it is 5 times
as fast as `conv_transpose2d`. Backward uses the same functions and stores no copy of the image that is cut to patches.
`convolution.ConvCell` and `lion_ray.methods.prompts` call them.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn.grad import conv2d_weight

from lion_ray.implicit.rows import linear_rows

LARGEST_CONVOLUTION = 8  # above this patch size a matrix product gives the weight gradient 3 x faster (oneDNN, AVX2)


def read_patches(images: Tensor, weight: Tensor) -> Tensor:
    """Convolve patches that do not overlap. The last ones are filled with zeros where s does not divide H or W.

    Args:
        images: (B, C, H, W).
        weight: (c, C, s, s).

    Returns:
        (B, c, ceil(H / s), ceil(W / s)).
    """
    result: Tensor = _ReadPatches.apply(images, weight)
    return result


def add_patches(images: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    """Add the transpose of `read_patches`, applied to z, to the images. Pixels beyond the image's edge are dropped.

    Args:
        images: (B, C, H, W).
        z: (B, c, ceil(H / s), ceil(W / s)).
        weight: (c, C, s, s).

    Returns:
        (B, C, H, W) in channels_last order.
    """
    result: Tensor = _AddPatches.apply(images, z, weight)
    return result


class _ReadPatches(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, images: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(images, weight)
        return _convolve(images, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (images, weight), (needs_images, needs_weight) = ctx.saved_tensors, ctx.needs_input_grad
        images_grad = _add(torch.zeros_like(images), grad, weight) if needs_images else None
        return images_grad, _weight_gradient(images, grad, weight) if needs_weight else None


class _AddPatches(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, images: Tensor, z: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(z, weight)
        return _add(images, z, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (z, weight), (needs_images, needs_z, needs_weight) = ctx.saved_tensors, ctx.needs_input_grad
        z_grad = _convolve(grad, weight) if needs_z else None
        weight_grad = _weight_gradient(grad, z, weight) if needs_weight else None
        return grad if needs_images else None, z_grad, weight_grad


def _convolve(images: Tensor, weight: Tensor) -> Tensor:
    size = weight.shape[-1]
    return F.conv2d(_pad(images, size), weight, stride=size)


def _add(images: Tensor, z: Tensor, weight: Tensor) -> Tensor:
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
    """The gradient of <z, read_patches(images, weight)> with respect to the weight, (c, C, s, s)."""
    (count, channels, size, _), images = weight.shape, _pad(images, weight.shape[-1])
    if size <= LARGEST_CONVOLUTION:
        gradient: Tensor = conv2d_weight(images, weight.shape, z, stride=size)  # type: ignore[no-untyped-call]
        return gradient
    batch, _, rows, columns = z.shape
    cut = images.permute(0, 2, 3, 1).reshape(batch, rows, size, columns, size * channels).transpose(2, 3)
    states = z.permute(0, 2, 3, 1).reshape(-1, count)
    product = states.t() @ cut.reshape(len(states), size * size * channels)
    return product.reshape(count, size, size, channels).permute(0, 3, 1, 2)


def _pad(images: Tensor, size: int) -> Tensor:
    """The images in channels_last order, padded with zeros to a multiple of `size`."""
    missing = (-images.shape[2] % size, -images.shape[3] % size)
    images = F.pad(images, (0, missing[1], 0, missing[0])) if any(missing) else images
    return images.contiguous(memory_format=torch.channels_last)
