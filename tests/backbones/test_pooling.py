"""Averaging maps where bits count: the same means and gradients as PyTorch's pooling."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lion_ray.backbones import averaged
from lion_ray.backbones.pooling import averaged_by_products, resized, resized_by_products


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("shape", [(7, 7), (8, 5), (14, 12), (3, 7)])
def test_products_average_as_pooling_does(shape: tuple[int, int], size: int) -> None:
    maps = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(2, 3, size, size, dtype=torch.float64)
    found = []
    for pool in (averaged_by_products, F.adaptive_avg_pool2d):
        pooled = pool(maps, size)
        found.append((pooled, torch.autograd.grad(pooled, maps, towards)[0]))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("size", [3, 7, 36])
@pytest.mark.parametrize("shape", [(7, 7), (8, 5), (32, 33)])
def test_products_resize_as_interpolation_does(shape: tuple[int, int], size: int) -> None:
    images = torch.randn(2, 3, *shape, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(2, 3, size, size, dtype=torch.float64)
    found = []
    for resize in (resized_by_products, resized):
        whole = resize(images, size)
        found.append((whole, torch.autograd.grad(whole, images, towards)[0]))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("device", "is_deterministic", "refused"), [("cpu", True, 0), ("meta", True, 1), ("meta", False, 0)]
)
def test_pooling_that_cuda_refuses_is_avoided_where_bits_count(
    device: str, is_deterministic: bool, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    products = []
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: is_deterministic)
    monkeypatch.setattr("lion_ray.backbones.pooling.averaged_by_products", lambda *_: products.append(1))
    monkeypatch.setattr("lion_ray.backbones.pooling.resized_by_products", lambda *_: products.append(1))
    averaged(torch.zeros(1, 1, 4, 4, device=device), 2)
    resized(torch.zeros(1, 1, 4, 4, device=device), 6)
    assert len(products) == 2 * refused
