"""Cells, inputs and losses that the tests of the implicit layer share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lion_ray.implicit import (
    Cell,
    ConvCell,
    Implicit,
    ImplicitLayer,
    LinearCell,
    Solver,
    project_,
)


def adversarial_cell(kind: str, sign: int, gamma: float) -> Cell:
    """Every weight of W has one sign, and every row is at the bound: the slowest cell the bound allows."""
    generator = torch.Generator().manual_seed(0)
    cell: Cell
    cell = LinearCell(5, 8, generator=generator) if kind == "linear" else ConvCell(3, 4, generator=generator)
    cell = cell.double()
    with torch.no_grad():
        cell.W.abs_().mul_(10 * sign)
        cell.U.abs_()
    project_(cell, gamma)
    return cell


def make_cell(kind: str) -> Cell:
    """A float64 cell whose W is at the bound after projection, with a non-zero bias."""
    generator = torch.Generator().manual_seed(1)
    cell: Cell
    if kind == "linear":
        cell = LinearCell(5, 6, generator=generator)
    elif kind == "conv":
        cell = ConvCell(2, 4, stride=2, generator=generator)
    else:
        cell = ConvCell(2, 4, kernel_size=3, stride=3, groups=2, dilation=2, generator=generator)
    with torch.no_grad():
        cell.W.mul_(5)
        cell.b.uniform_(-0.5, 0.5, generator=generator)
    return cell.double()


def make_input(kind: str, size: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (size, 5) if kind == "linear" else (size, 2, 7, 6)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def make_layer(kind: str, solver: Solver[Any], tolerance: float = 1e-12) -> ImplicitLayer:
    gradient = Implicit(solver=solver, tolerance=tolerance, max_steps=300)
    return ImplicitLayer(make_cell(kind), solver=solver, gradient=gradient, tolerance=tolerance, max_steps=300)


def loss_of(layer: Callable[[Tensor], Tensor], u: Tensor) -> Tensor:
    z = layer(u)
    weights = torch.arange(1, z.numel() + 1, dtype=z.dtype).reshape(z.shape).cos()
    return (weights * z + 0.5 * weights * z.square()).sum()


def gradients_of(layer: ImplicitLayer, u: Tensor) -> dict[str, Tensor]:
    u = u.clone().requires_grad_()
    named = {**dict(layer.named_parameters()), "u": u}
    return dict(zip(named, torch.autograd.grad(loss_of(layer, u), list(named.values())), strict=True))
