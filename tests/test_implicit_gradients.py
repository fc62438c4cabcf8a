"""Gradients of an equilibrium: against unrolled autograd, central differences, and in constant memory."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from lion_ray.implicit import (
    Anderson,
    Broyden,
    Cell,
    ConvCell,
    Implicit,
    ImplicitLayer,
    LinearCell,
    Neumann,
    OneStep,
    Picard,
    Solver,
    Unrolled,
)

SOLVERS = [Picard(), Anderson(), Broyden()]
KINDS = ["linear", "conv", "conv_grouped"]


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


def test_saved_memory_does_not_grow_with_the_number_of_steps() -> None:
    def saved(gradient: Implicit | Unrolled, max_steps: int) -> tuple[int, int]:
        sizes: list[int] = []

        def pack(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        layer = ImplicitLayer(make_cell("conv"), gradient=gradient, tolerance=1e-300, max_steps=max_steps)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            z = layer(make_input("conv").requires_grad_())
        torch.autograd.backward(z.sum())
        assert layer.health()["steps_max"] == max_steps
        return len(sizes), sum(sizes)

    assert saved(Implicit(max_steps=5), 6) == saved(Implicit(max_steps=50), 20)
    assert saved(Unrolled(), 20) > saved(Unrolled(), 6)


def test_backward_uses_its_own_tolerance_and_steps_and_reports_them() -> None:
    layer = make_layer("conv", Picard())
    layer.gradient = Implicit(tolerance=1e-300, max_steps=7)
    torch.autograd.backward(layer(make_input("conv").requires_grad_()).sum())
    health = layer.health()
    assert health["steps_max_backward"] == 7
    assert health["share_unconverged_backward"] == 1
    assert health["share_unconverged"] == 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_graph_gives_the_same_bits_and_training_still_works_afterwards(mode: Callable[[], object]) -> None:
    layer, u = make_layer("conv", Anderson()), make_input("conv")
    with mode():  # type: ignore[attr-defined]
        quiet = layer(u)
    assert not quiet.requires_grad
    trained = layer(u)
    assert torch.equal(trained, quiet)
    torch.autograd.backward(trained.sum())
    assert copy.deepcopy(layer).health() == layer.health()


@pytest.mark.parametrize("wanted", ["W", "U", "b", "u"])
def test_only_one_tensor_may_need_a_gradient(wanted: str) -> None:
    layer, u = make_layer("conv", Picard()), make_input("conv")
    expected = gradients_of(layer, u)[wanted if wanted == "u" else f"cell.{wanted}"]
    layer.requires_grad_(False)
    target = u if wanted == "u" else getattr(layer.cell, wanted)
    target.requires_grad_()
    torch.autograd.backward(loss_of(layer, u))
    torch.testing.assert_close(target.grad, expected, rtol=1e-12, atol=0)
    assert [p.grad is not None for p in layer.parameters()].count(True) == (wanted != "u")


def test_nothing_needs_a_gradient_and_nothing_is_tracked() -> None:
    layer = make_layer("conv", Picard()).requires_grad_(False)
    assert not layer(make_input("conv")).requires_grad


def test_changing_w_between_forward_and_backward_is_an_error() -> None:
    layer = make_layer("conv", Picard())
    loss = layer(make_input("conv")).sum()
    with torch.no_grad():
        layer.cell.W.mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.backward(loss)


def test_backward_uses_the_weights_of_its_forward_under_functional_call() -> None:
    layer, u = make_layer("conv", Picard()), make_input("conv")
    expected = gradients_of(layer, u)["cell.W"]
    weights = {name: p.detach().clone().requires_grad_() for name, p in layer.named_parameters()}
    with torch.no_grad():
        layer.cell.W.zero_()
    torch.autograd.backward(loss_of(lambda x: torch.func.functional_call(layer, weights, (x,)), u))
    torch.testing.assert_close(weights["cell.W"].grad, expected, rtol=1e-12, atol=1e-14)


def test_double_backward_raises_instead_of_being_wrong() -> None:
    layer, u = make_layer("linear", Picard()), make_input("linear").requires_grad_()
    (gradient,) = torch.autograd.grad(loss_of(layer, u), u, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient.sum())


def test_gradients_under_ddp_equal_plain_ones() -> None:
    layer, u = make_layer("conv", Picard()), make_input("conv")
    expected = gradients_of(layer, u)
    store = dist.HashStore()  # type: ignore[attr-defined]
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        torch.autograd.backward(loss_of(DistributedDataParallel(layer), u))
    finally:
        dist.destroy_process_group()
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-12, atol=0)


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


def test_gradients_accumulate_over_two_calls_of_one_layer() -> None:
    layer, u = make_layer("linear", Picard()), make_input("linear")
    once = gradients_of(layer, u)["cell.W"]
    torch.autograd.backward(loss_of(layer, u) + loss_of(layer, u))
    torch.testing.assert_close(layer.cell.W.grad, 2 * once, rtol=1e-12, atol=1e-14)
