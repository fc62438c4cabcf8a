"""The layer inside what people wrap around it: compiled backbones, checkpointing, accumulation; and an oracle."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchdeq import get_deq

from lion_ray.implicit import Anderson, Broyden, Cell, ConvCell, Implicit, ImplicitLayer, LinearCell, Picard, Solver

SOLVERS: list[Solver[object]] = [Picard(), Anderson(), Broyden()]  # type: ignore[list-item]


def make_layer(kind: str = "conv", solver: Solver[object] = SOLVERS[0]) -> ImplicitLayer:
    generator = torch.Generator().manual_seed(0)
    cell: Cell = LinearCell(6, 8, generator=generator) if kind == "linear" else ConvCell(3, 8, generator=generator)
    with torch.no_grad():
        cell.W.mul_(5)
    gradient = Implicit(solver=solver, tolerance=1e-12, max_steps=300)
    return ImplicitLayer(cell.double(), solver=solver, gradient=gradient, tolerance=1e-12, max_steps=300)


def drawn(kind: str = "conv", size: int = 4) -> Tensor:
    shape = (size, 6) if kind == "linear" else (size, 3, 12, 16)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def gradients(layer: ImplicitLayer, run: Callable[[], Tensor]) -> list[Tensor]:
    layer.zero_grad()
    torch.autograd.backward(run())
    return [parameter.grad.clone() for parameter in layer.parameters() if parameter.grad is not None]


def assert_close(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    for left, right in zip(found, expected, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_torchdeq_finds_the_same_equilibrium_and_gradients(kind: str, solver: Solver[object]) -> None:
    layer, u = make_layer(kind, solver), drawn(kind)
    cell = layer.cell
    deq = get_deq(f_solver="anderson", b_solver="anderson", f_max_iter=99, b_max_iter=99, f_tol=1e-13, b_tol=1e-13,
                  f_stop_mode="rel", b_stop_mode="rel", ift=True)  # fmt: skip

    def theirs() -> Tensor:
        injected = cell.inject(u)
        z, _ = deq(lambda z: torch.tanh(cell.recur(cell.W, z) + injected), torch.zeros_like(injected))
        equilibrium: Tensor = z[-1]
        torch.testing.assert_close(equilibrium, layer(u), rtol=1e-9, atol=1e-11)
        return equilibrium.square().sum()

    assert_close(gradients(layer, lambda: layer(u).square().sum()), gradients(layer, theirs))


def test_activation_checkpointing_gives_the_same_gradients() -> None:
    layer, u = make_layer(), drawn()
    expected = gradients(layer, lambda: layer(u).square().sum())
    found = gradients(layer, lambda: checkpoint(layer, u, use_reentrant=False).square().sum())
    assert_close(found, expected)


def test_accumulated_halves_are_the_whole_batch() -> None:
    layer, u = make_layer(), drawn()
    expected = gradients(layer, lambda: layer(u).square().sum())
    found = gradients(layer, lambda: layer(u[:2]).square().sum())
    torch.autograd.backward(layer(u[2:]).square().sum())
    found = [parameter.grad for parameter in layer.parameters() if parameter.grad is not None]
    assert_close(found, expected)


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_backbone_behind_the_layer_gives_the_same_gradients(backend: str) -> None:
    layer, u = make_layer(), drawn()
    backbone = nn.Sequential(nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)).double().requires_grad_(False)
    expected = gradients(layer, lambda: backbone(layer(u)).square().sum())
    compiled = torch.compile(backbone, backend=backend)
    assert_close(gradients(layer, lambda: compiled(layer(u)).square().sum()), expected)


def test_after_inference_mode_training_and_health_go_on() -> None:
    layer, u = make_layer(), drawn()
    expected = gradients(layer, lambda: layer(u).square().sum())
    layer.reset_health()
    with torch.inference_mode():
        layer(u)
    assert_close(gradients(layer, lambda: layer(u).square().sum()), expected)
    assert layer.health()["num_samples"] == 8
