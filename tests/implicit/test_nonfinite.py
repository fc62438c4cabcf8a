"""A sample that is not finite: its neighbours keep every bit of their gradients, and sums over the batch show it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lion_ray.implicit import (
    Anderson,
    Broyden,
    ConvCell,
    Gradient,
    Implicit,
    ImplicitLayer,
    LinearCell,
    Neumann,
    OneStep,
    Picard,
    Solver,
    Unrolled,
)

GRADIENTS = [Implicit(), Implicit(solver=Anderson()), Implicit(solver=Broyden()), OneStep(), Neumann(k=2), Unrolled()]
SHAPES = {"linear": (17,), "conv": (3, 13, 18), "grouped": (3, 13, 18)}


def make_layer(kind: str, gradient: Gradient, solver: Solver[Any]) -> ImplicitLayer:
    generator = torch.Generator().manual_seed(0)
    if kind == "linear":
        return ImplicitLayer(LinearCell(17, 13, generator=generator), gradient=gradient, solver=solver)
    options = {"groups": 4, "dilation": 2} if kind == "grouped" else {}
    return ImplicitLayer(ConvCell(3, 8, generator=generator, **options), gradient=gradient, solver=solver)


def batch(kind: str, size: int) -> Tensor:
    return torch.randn(size, *SHAPES[kind], generator=torch.Generator().manual_seed(size))


def solved(layer: ImplicitLayer, u: Tensor) -> tuple[Tensor, ...]:
    """Everything of a sample: state, residual, steps, verdict and the gradient to its input."""
    u = u.clone(memory_format=torch.preserve_format).requires_grad_()
    solution = layer.solve(u)
    (gradient,) = torch.autograd.grad((solution.z.square() + solution.z).sum(), u)
    return solution.z.detach(), solution.residual, solution.num_steps, solution.converged, gradient


@pytest.mark.parametrize("gradient", GRADIENTS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("kind", SHAPES)
def test_a_nan_sample_harms_no_neighbour_in_any_gradient_mode(kind: str, gradient: Gradient) -> None:
    layer, u = make_layer(kind, gradient, Picard()), batch(kind, 5)
    expected, poisoned, others = solved(layer, u), u.clone(), torch.arange(5) != 1
    poisoned[1].view(-1)[0] = math.nan
    found = solved(layer, poisoned)
    for left, right in zip(found, expected, strict=True):
        assert torch.equal(left[others], right[others])
    assert not found[3][1]
    assert bool(found[-1][1].isnan().any()), "its own gradient is not silently zero"


@pytest.mark.parametrize("gradient", GRADIENTS, ids=lambda each: type(each).__name__)
def test_weight_gradients_show_a_nan_sample_even_if_the_loss_leaves_it_out(gradient: Gradient) -> None:
    layer, u = make_layer("conv", gradient, Picard()), batch("conv", 4)
    u[2, 0, 0, 0] = math.nan
    solution = layer.solve(u)
    assert solution.reasons()[2] == "non_finite"
    kept = torch.where(solution.converged, solution.z.square().flatten(1).sum(1), 0.0)
    torch.autograd.backward(kept.sum())
    assert layer.cell.W.grad is not None
    assert bool(layer.cell.W.grad.isnan().any()), "leave bad samples out of the batch, not out of the loss"


@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden()], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("size", [1, 2, 3, 8, 17, 33])
@pytest.mark.parametrize("kind", ["linear", "grouped"])
def test_no_batch_size_and_no_layout_lets_a_place_change_a_bit(kind: str, size: int, solver: Solver[Any]) -> None:
    layer, u = make_layer(kind, Implicit(solver=solver), solver), batch(kind, size)
    expected = solved(layer, u)
    found = solved(layer, u.flip(0))
    assert all(torch.equal(left.flip(0), right) for left, right in zip(found, expected, strict=True))
    if kind == "grouped":
        last = solved(layer, u.contiguous(memory_format=torch.channels_last))
        assert all(torch.equal(left, right) for left, right in zip(last, expected, strict=True))


@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden()], ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("kind", SHAPES)
def test_across_batch_sizes_input_gradients_agree_within_tolerance(kind: str, solver: Solver[Any]) -> None:
    layer, u = make_layer(kind, Implicit(solver=solver), solver), batch(kind, 9)
    together = solved(layer, u)
    for index in range(len(u)):
        alone = solved(layer, u[index : index + 1])
        for left, right in ((alone[0][0], together[0][index]), (alone[-1][0], together[-1][index])):
            assert (left - right).abs().max() <= 1e-4 * right.abs().max()
