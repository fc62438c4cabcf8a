"""The one loop: limits, freezing, failure as a value, settings that are refused."""

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
    ImplicitLayer,
    Picard,
    Solver,
    solve,
)
from lion_ray.implicit.norms import distance_and_residual, max_norm, sum_norm
from tests.support.cells import adversarial_cell

SOLVERS = [Picard(), Anderson(), Anderson(window=1), Anderson(window=2, damping=0.7), Broyden(), Broyden(window=1)]


@pytest.mark.parametrize("max_steps", [1, 2, 3])
@pytest.mark.parametrize("solver", SOLVERS)
def test_few_steps_return_the_last_evaluation_with_its_true_residual(solver: Solver[Any], max_steps: int) -> None:
    calls: list[tuple[Tensor, Tensor]] = []
    cell = adversarial_cell("linear", 1, 0.9)
    injected = cell.inject(torch.ones(2, 5, dtype=torch.float64)).detach()

    def f(z: Tensor) -> Tensor:
        calls.append((z, cell.step(z, injected).detach()))
        return calls[-1][1]

    z0 = torch.zeros_like(injected)
    solution = solve(f, z0, solver=solver, tolerance=1e-30, max_steps=max_steps, contraction=0.9)
    assert len(calls) == max_steps
    assert solution.num_steps.tolist() == [max_steps, max_steps]
    assert torch.equal(solution.z, calls[-1][1])
    assert not torch.equal(solution.z, z0)
    z, value = calls[-1]
    expected = (value - z).abs().amax(1) / value.abs().amax(1)
    torch.testing.assert_close(solution.residual, expected, rtol=0, atol=0)
    assert not bool(solution.converged.any())


def test_a_nan_sample_stops_at_once_and_does_not_spin_the_batch() -> None:
    evaluations = 0

    def f(z: Tensor) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return 0.5 * z + torch.tensor([[1.0], [math.nan], [2.0]])

    solution = solve(f, torch.zeros(3, 1), solver=Picard(), tolerance=1e-3, max_steps=500)
    assert solution.converged.tolist() == [True, False, True]
    assert solution.num_steps[1] == 1
    assert evaluations == int(solution.num_steps.max()) < 20
    assert not bool(solution.residual[1].isfinite())
    torch.testing.assert_close(solution.z[[0, 2]], torch.tensor([[2.0], [4.0]]), rtol=2e-3, atol=0)


def test_a_converged_sample_is_frozen_while_others_go_on() -> None:
    rates = torch.tensor([[0.1], [0.9]])
    alone = solve(lambda z: rates[:1] * z + 1, torch.zeros(1, 1), solver=Picard(), tolerance=1e-3, max_steps=200)
    solution = solve(lambda z: rates * z + 1, torch.zeros(2, 1), solver=Picard(), tolerance=1e-3, max_steps=200)
    assert solution.num_steps[0] < solution.num_steps[1]
    assert torch.equal(solution.z[:1], alone.z)
    assert torch.equal(solution.num_steps[:1], alone.num_steps)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("check_every", [2, 7, 1000])
def test_results_do_not_depend_on_how_often_the_host_asks(solver: Solver[Any], check_every: int) -> None:
    rates = torch.tensor([[0.1], [0.5], [0.7]]) * torch.tensor([1.0, -1.0])
    runs = [
        solve(
            lambda z: torch.tanh(rates * z + 1),
            torch.zeros(3, 2),
            solver=solver,
            tolerance=1e-4,
            max_steps=60,
            check_every=every,
        )
        for every in (1, check_every)
    ]
    for name in ("z", "residual", "num_steps", "converged", "fallback"):
        assert torch.equal(getattr(runs[0], name), getattr(runs[1], name)), name


def test_unconverged_is_reported_and_not_silent() -> None:
    solution = solve(lambda z: -z + 1, torch.zeros(2, 3), solver=Picard(), tolerance=1e-4, max_steps=9)
    assert solution.converged.tolist() == [False, False]
    assert solution.residual.min() > 0.5
    assert solution.num_steps.tolist() == [9, 9]


def test_a_reason_is_named_for_every_sample() -> None:
    rates = torch.tensor([[0.1], [0.99], [math.nan]])
    solution = solve(lambda z: rates * z + 1, torch.zeros(3, 1), solver=Picard(), tolerance=1e-3, max_steps=9)
    assert solution.reasons() == ("converged", "max_steps", "non_finite")


def test_zero_is_an_exact_equilibrium() -> None:
    solution = solve(torch.zeros_like, torch.zeros(2, 3), solver=Picard(), tolerance=1e-6, max_steps=5)
    assert solution.converged.tolist() == [True, True]
    assert solution.residual.tolist() == [0, 0]
    assert solution.num_steps.tolist() == [1, 1]


def test_residual_is_relative_so_scale_does_not_matter() -> None:
    z, value = torch.tensor([[1.0, -2.0], [3.0, 4.0]]), torch.tensor([[1.5, -2.0], [3.0, 5.0]])
    for norm in (max_norm, sum_norm):
        _, plain = distance_and_residual(z, value, norm)
        _, scaled = distance_and_residual(z * 2**-80, value * 2**-80, norm)
        assert torch.equal(plain, scaled)
    assert distance_and_residual(z, value, max_norm)[1].tolist() == [0.25, pytest.approx(0.2)]


def test_an_empty_batch_is_an_empty_solution() -> None:
    cell = ConvCell(3, 4, generator=torch.Generator().manual_seed(0))
    layer = ImplicitLayer(cell, solver=Anderson())
    torch.autograd.backward(layer(torch.zeros(0, 3, 8, 8, requires_grad=True)).sum())
    assert layer.health()["num_samples"] == 0


@pytest.mark.parametrize("wrong", [{"tolerance": 0.0}, {"tolerance": math.nan}, {"max_steps": 0}, {"check_every": 0}])
def test_settings_out_of_range_are_named(wrong: dict[str, float]) -> None:
    settings = {"tolerance": 1e-4, "max_steps": 5, "check_every": 1, **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        solve(torch.tanh, torch.zeros(1, 1), solver=Picard(), **settings)  # type: ignore[arg-type]
