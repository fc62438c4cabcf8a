"""Reading and writing patches: a strided convolution, its transpose, and their exact gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lion_ray.implicit.patches import add_patches, read_patches

SHAPES = [(4, (16, 12)), (4, (15, 9)), (16, (48, 32)), (16, (33, 40)), (1, (5, 6))]


def drawn(size: int, shape: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = (-(-shape[0] // size), -(-shape[1] // size))
    shapes = [(2, 3, *shape), (2, 5, *state), (5, 3, size, size)]
    images, z, weight = (torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes)
    return images, z, weight


def plain_read(images: Tensor, weight: Tensor) -> Tensor:
    size = weight.shape[-1]
    return F.conv2d(F.pad(images, (0, -images.shape[3] % size, 0, -images.shape[2] % size)), weight, stride=size)


def plain_write(images: Tensor, z: Tensor, weight: Tensor) -> Tensor:
    written = F.conv_transpose2d(z, weight, stride=weight.shape[-1])
    return images + written[..., : images.shape[2], : images.shape[3]]


@pytest.mark.parametrize(("size", "shape"), SHAPES)
def test_both_ways_and_all_gradients_equal_the_plain_convolutions(size: int, shape: tuple[int, int]) -> None:
    images, z, weight = drawn(size, shape)
    compare(read_patches, plain_read, images, weight)
    compare(add_patches, plain_write, images, z, weight)
    assert add_patches(images, z, weight).is_contiguous(memory_format=torch.channels_last)


def compare(found: Callable[..., Tensor], expected: Callable[..., Tensor], *tensors: Tensor) -> None:
    value, reference = found(*tensors), expected(*tensors)
    torch.testing.assert_close(value, reference, rtol=1e-10, atol=1e-12)
    grad = torch.cos(torch.arange(value.numel(), dtype=torch.float64)).reshape(value.shape)
    for left, right in zip(
        torch.autograd.grad(value, tensors, grad), torch.autograd.grad(reference, tensors, grad), strict=True
    ):
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-11)


def test_writing_zeros_leaves_the_image_to_the_bit() -> None:
    images, z, weight = drawn(4, (16, 12))
    assert torch.equal(add_patches(images, z, torch.zeros_like(weight)), images)
