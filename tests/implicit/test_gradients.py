"""Gradients of an equilibrium: against unrolled autograd, central differences and each other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lion_ray.implicit import (
    Anderson,
    Broyden,
    ImplicitLayer,
    Neumann,
    OneStep,
    Picard,
    Solver,
    Unrolled,
)
from tests.support.cells import gradients_of, loss_of, make_cell, make_input, make_layer

SOLVERS = [Picard(), Anderson(), Broyden()]
KINDS = ["linear", "conv", "conv_grouped"]


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", KINDS)
def test_implicit_gradient_equals_unrolled_autograd(kind: str, solver: Solver[Any]) -> None:
    u = make_input(kind)
    found = gradients_of(make_layer(kind, solver), u)
    reference = gradients_of(
        ImplicitLayer(make_cell(kind), gradient=Unrolled(), tolerance=1e-12, max_steps=300),
        u,
    )
    for name, gradient in found.items():
        error = (gradient - reference[name]).norm() / reference[name].norm()
        assert error < 1e-9, f"{name}: {error}"


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", KINDS)
def test_implicit_gradient_equals_central_differences(kind: str, solver: Solver[Any]) -> None:
    layer, u = make_layer(kind, solver), make_input(kind)
    layer.cell.W.data.mul_(0.9)
    found = gradients_of(layer, u)
    generator = torch.Generator().manual_seed(3)
    targets: dict[str, Tensor] = {**{name: p.data for name, p in layer.named_parameters()}, "u": u}
    for name, target in targets.items():
        for _ in range(3):
            direction = torch.randn(target.shape, generator=generator, dtype=torch.float64)
            difference = central_difference(layer, u, target, direction)
            assert float((found[name] * direction).sum()) == pytest.approx(difference, rel=1e-6)


def central_difference(layer: ImplicitLayer, u: Tensor, target: Tensor, direction: Tensor, h: float = 1e-5) -> float:
    """Derivative of the loss along `direction` of `target`, a tensor the layer reads; restores it."""
    original, losses = target.clone(), []
    for sign in (1, -1):
        target.copy_(original + sign * h * direction)
        with torch.no_grad():
            losses.append(float(loss_of(layer, u)))
    target.copy_(original)
    return (losses[0] - losses[1]) / (2 * h)


@pytest.mark.parametrize("kind", KINDS)
def test_analytic_vjp_equals_autograd(kind: str) -> None:
    cell, u = make_cell(kind), make_input(kind)
    injected = cell.inject(u).detach()
    z = torch.linspace(-1, 1, injected.numel(), dtype=torch.float64).reshape(injected.shape).requires_grad_()
    value = cell.step(z, injected)
    y = torch.linspace(-2, 3, injected.numel(), dtype=torch.float64).reshape(injected.shape)
    (expected,) = torch.autograd.grad(value, z, y)
    # At an equilibrium the value is z*; here the slope is taken from the value for the same reason.
    torch.testing.assert_close(cell.pull_back(cell.W, cell.slope(value) * y), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_vjp_at_an_equilibrium_is_the_transposed_jacobian(kind: str) -> None:
    layer, u = make_layer(kind, Picard()), make_input(kind)
    injected = layer.cell.inject(u).detach()
    z = layer(u).detach().requires_grad_()
    y = torch.ones_like(z)
    (expected,) = torch.autograd.grad(layer.cell.step(z, injected), z, y)
    torch.testing.assert_close(layer.cell.vjp(z, y), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_neumann_approaches_the_implicit_gradient_at_the_rate_of_the_bound(kind: str) -> None:
    u, layer = make_input(kind), make_layer(kind, Picard())
    expected = gradients_of(layer, u)["u"]
    errors = []
    for gradient in (OneStep(), *(Neumann(k=k) for k in (1, 3, 60))):
        layer.gradient = gradient
        errors.append(float((gradients_of(layer, u)["u"] - expected).norm() / expected.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.8 / 0.2
    assert errors[-1] < 1e-5


def test_one_step_is_the_gradient_of_the_last_evaluation() -> None:
    layer, u = make_layer("conv", Picard()), make_input("conv")
    layer.gradient = OneStep()
    found = gradients_of(layer, u)
    z = layer(u).detach()
    u = u.clone().requires_grad_()
    named = {**dict(layer.named_parameters()), "u": u}
    loss = loss_of(lambda x: layer.cell.step(z, layer.cell.inject(x)), u)
    for name, expected in zip(named, torch.autograd.grad(loss, list(named.values())), strict=True):
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-10)
    assert layer.health()["num_samples_backward"] == 0, "nothing was solved on the way back"


def test_neumann_reports_what_it_leaves() -> None:
    layer = make_layer("conv", Picard())
    layer.gradient = Neumann(k=2)
    torch.autograd.backward(layer(make_input("conv").requires_grad_()).sum())
    health = layer.health()
    assert health["steps_max_backward"] == 2
    assert health["residual_max_backward"] > 1e-4
    with pytest.raises(ValueError, match="k is 0"):
        Neumann(k=0)
