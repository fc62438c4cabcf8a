"""At equal batch size a sample's equilibrium and input gradient do not depend on its neighbours: not by a bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lion_ray.implicit import Anderson, Broyden, Cell, ConvCell, Implicit, ImplicitLayer, LinearCell, Picard, Solver

SOLVERS = [Picard(), Anderson(), Broyden()]
CASES = [  # Ragged sizes on purpose: a BLAS treats the edge of a matrix differently.
    ("linear", 13, torch.float32),
    ("linear", 64, torch.float32),
    ("linear", 13, torch.float64),
    ("conv", 8, torch.float32),
    ("conv", 8, torch.float64),
]


def make_layer(kind: str, width: int, dtype: torch.dtype, solver: Solver[Any]) -> ImplicitLayer:
    generator = torch.Generator().manual_seed(0)
    cell: Cell
    cell = LinearCell(17, width, generator=generator) if kind == "linear" else ConvCell(3, width, generator=generator)
    with torch.no_grad():
        cell.W.abs_().mul_(5)
    return ImplicitLayer(cell.to(dtype), solver=solver, gradient=Implicit(solver=solver))


def make_batch(kind: str, size: int, dtype: torch.dtype) -> Tensor:
    """Samples of very different scales, so that they stop at different steps."""
    generator = torch.Generator().manual_seed(5)
    shape = (17,) if kind == "linear" else (3, 27, 22)
    batch = torch.randn(size, *shape, generator=generator, dtype=dtype)
    return batch * torch.logspace(-3, 1, size, dtype=dtype).reshape(-1, *[1] * len(shape))


def solve_and_pull_back(layer: ImplicitLayer, u: Tensor) -> tuple[Tensor, ...]:
    u = u.clone().requires_grad_()
    solution = layer.solve(u)
    weights = torch.linspace(-1, 2, solution.z[0].numel(), dtype=u.dtype).reshape(solution.z[0].shape)
    (gradient,) = torch.autograd.grad((solution.z * weights).sum(), u)
    return solution.z.detach(), solution.residual, solution.num_steps, solution.fallback, gradient


def assert_same_bits(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], where: Tensor) -> None:
    for left, right in zip(found, expected, strict=True):
        assert torch.equal(left[where], right[where])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(("kind", "width", "dtype"), CASES)
def test_neighbours_order_and_nan_never_change_a_bit(
    kind: str, width: int, dtype: torch.dtype, solver: Solver[Any]
) -> None:
    check_isolation(make_layer(kind, width, dtype, solver), make_batch(kind, 7, dtype))


@pytest.mark.parametrize(("kind", "width", "solver"), [("linear", 64, Anderson()), ("conv", 8, Anderson())])
def test_nor_do_they_when_two_threads_share_the_batch(kind: str, width: int, solver: Solver[Any]) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        check_isolation(make_layer(kind, width, torch.float32, solver), make_batch(kind, 7, torch.float32))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("solver", [Anderson(), Broyden()])
@pytest.mark.parametrize(("kind", "width"), [("linear", 13), ("conv", 8)])
def test_nor_do_they_without_a_bound_where_steps_are_taken_back(kind: str, width: int, solver: Solver[Any]) -> None:
    layer = make_layer(kind, width, torch.float32, solver)
    layer.gamma = None
    with torch.no_grad():
        layer.cell.W.mul_(-6)  # 1-norm 2.4 in each row
    u = make_batch(kind, 7, torch.float32)
    assert int(layer.solve(u).fallback.sum()) > 0
    check_isolation(layer, u)


def check_isolation(layer: ImplicitLayer, u: Tensor) -> None:
    everyone = torch.arange(len(u))
    expected = solve_and_pull_back(layer, u)
    assert len(set(expected[2].tolist())) > 1, "the samples must stop at different steps for this test to mean anything"
    for shift in (1, 3):
        order = everyone.roll(shift).flip(0)
        found = solve_and_pull_back(layer, u[order])
        assert_same_bits(found, tuple(part[order] for part in expected), everyone)
    for bad, poison in ((0, float("nan")), (4, float("inf"))):
        poisoned = u.clone()
        poisoned[bad] = poison
        if poison != poison:
            poisoned[bad].view(-1)[1:] = 0  # One NaN entry is enough.
        assert_same_bits(solve_and_pull_back(layer, poisoned), expected, everyone[everyone != bad])
    replaced = torch.cat([u[:1], u[1:] * 7 + 1])
    assert_same_bits(solve_and_pull_back(layer, replaced), expected, everyone[:1])


@pytest.mark.parametrize("size", [1, 2, 5, 16, 33])
def test_linear_rows_do_not_depend_on_their_place(size: int) -> None:
    layer = make_layer("linear", 13, torch.float32, Picard())
    u = torch.randn(size, 17, generator=torch.Generator().manual_seed(8))
    expected = layer(u)
    assert torch.equal(layer(u.flip(0)).flip(0), expected)


def test_across_batch_sizes_results_agree_within_tolerance() -> None:
    layer = make_layer("conv", 8, torch.float32, Picard())
    u = make_batch("conv", 7, torch.float32)
    together = layer(u).detach()
    for index in range(len(u)):
        alone = layer(u[index : index + 1]).detach()[0]
        assert (alone - together[index]).abs().max() <= 1e-5 * together[index].abs().max()
