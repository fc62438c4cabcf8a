"""The one loop and its solvers: step counts, limits, fallbacks, and failure as a value."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lion_ray.implicit import (
    Anderson,
    Broyden,
    Cell,
    ConvCell,
    Implicit,
    ImplicitLayer,
    LinearCell,
    Picard,
    Solver,
    project_,
    solve,
)
from lion_ray.implicit.norms import distance_and_residual, max_norm, sum_norm

SOLVERS = [Picard(), Anderson(), Anderson(window=1), Anderson(window=2, damping=0.7), Broyden(), Broyden(window=1)]


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


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("gamma", [0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_picard_from_zero_needs_no_more_steps_than_gamma_promises(
    kind: str, gamma: float, sign: int, scale: float
) -> None:
    tolerance = 1e-6
    promise = math.ceil(math.log(tolerance / 4) / math.log(gamma)) + 1
    gradient = Implicit(tolerance=tolerance, max_steps=promise)
    cell = adversarial_cell(kind, sign, gamma)
    layer = ImplicitLayer(cell, gradient=gradient, gamma=gamma, tolerance=tolerance, max_steps=promise)
    shape = (4, 5) if kind == "linear" else (4, 3, 17, 17)
    u = torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * scale
    torch.autograd.backward(layer(u.requires_grad_()).sum())
    assert layer.health()["share_unconverged"] == 0
    assert layer.health()["share_unconverged_backward"] == 0


def test_default_steps_are_a_guarantee_at_the_default_bound() -> None:
    layer = ImplicitLayer(adversarial_cell("linear", 1, 0.8))
    assert layer.gamma == 0.8
    for tolerance, max_steps in ((layer.tolerance, layer.max_steps), (1e-5, 60)):
        assert math.ceil(math.log(tolerance / 4) / math.log(0.8)) + 1 <= max_steps


def test_anderson_needs_fewer_steps_than_picard_on_a_slow_cell() -> None:
    steps = {}
    for solver in (Picard(), Anderson()):
        cell = adversarial_cell("conv", 1, 0.95)
        layer = ImplicitLayer(cell, solver=solver, gamma=0.95, tolerance=1e-8, max_steps=500)
        with torch.no_grad():
            layer(1e-3 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
        assert layer.health()["share_unconverged"] == 0
        steps[type(solver)] = layer.health()["steps_mean"]
    assert steps[Anderson] < 0.4 * steps[Picard]


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_reaches_the_same_equilibrium(solver: Solver[Any]) -> None:
    cell = adversarial_cell("conv", -1, 0.9)
    u = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    layer = ImplicitLayer(cell, solver=solver, gamma=0.9, tolerance=1e-13, max_steps=1000)
    solution = layer.solve(u)
    assert bool(solution.converged.all())
    reference = ImplicitLayer(cell, gamma=0.9, tolerance=1e-14, max_steps=1000)(u)
    torch.testing.assert_close(solution.z, reference, rtol=1e-11, atol=1e-12)


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
    solution = solve(f, z0, solver=solver, tolerance=1e-30, max_steps=max_steps)
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


def test_a_singular_anderson_system_falls_back_to_picard_and_is_counted() -> None:
    # Sample 0 moves along one line, so its differences are collinear; sample 1 turns in its plane.
    turn = torch.tensor([[0.0, -0.7], [0.7, 0.0]], dtype=torch.float64)
    shift = torch.tensor([[1.0, 2.0], [1.0, 2.0]], dtype=torch.float64)

    def f(z: Tensor) -> Tensor:
        line = torch.tanh(z[:1].mean(1, keepdim=True)) * 0.9 * shift[:1] + shift[:1]
        return torch.cat([line, z[1:] @ turn.T + shift[1:]])

    z0 = torch.zeros(2, 2, dtype=torch.float64)
    solver = Anderson(window=3, regularisation=0.0)
    solution = solve(f, z0, solver=solver, tolerance=1e-10, max_steps=200)
    assert solution.converged.tolist() == [True, True]
    assert solution.fallback[0] > 0
    assert solution.fallback[1] == 0
    picard = solve(f, z0, solver=Picard(), tolerance=1e-12, max_steps=500)
    torch.testing.assert_close(solution.z, picard.z, rtol=1e-8, atol=1e-9)


def test_anderson_converges_on_every_kinked_contraction_although_secants_mislead_it() -> None:
    # f(z) = c +- 0.95 |z - k|: without the safeguard about one in nine cycles for ever.
    generator = torch.Generator().manual_seed(0)
    offset, kink, side = torch.randn(3, 500, 1, generator=generator, dtype=torch.float64)
    rate = 0.95 * side.sign()
    z0 = torch.zeros_like(offset)
    solution = solve(
        lambda z: 2 * offset + rate * (z - 2 * kink).abs(), z0, solver=Anderson(), tolerance=1e-8, max_steps=374
    )
    assert bool(solution.converged.all())
    assert int(solution.fallback.sum()) > 0
    assert float(solution.num_steps.double().mean()) < 12, "the misleading history must be dropped: else about 15"


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.3, 0.1), (0.7, -0.2), (0.1, 0.9)])
def test_collinear_differences_give_the_picard_step_to_that_sample_only(direction: tuple[float, float]) -> None:
    # Along most directions the system is singular only up to rounding, which a Cholesky factor can miss.
    solver, line = Anderson(regularisation=0.0), torch.tensor(direction)
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    others = torch.tensor([[4.0, 4.0], [2.0, 4.0], [2.0, 1.0]])
    points = [torch.stack([t * line, corner]) for t, corner in zip((0, 1, 2), corners, strict=True)]
    errors = [torch.stack([t * line, other]) for t, other in zip((4, 1.9, 1), others, strict=True)]
    state = solver.init(points[0])
    for z, error in zip(points, errors, strict=True):
        advance = solver.step(state, z=z, value=z + error, distance=sum_norm(error))
        state = advance.state
    assert advance.fallback is not None
    assert advance.fallback.tolist() == [True, False]
    assert torch.equal(advance.z[0], points[-1][0] + errors[-1][0])
    torch.testing.assert_close(advance.z[1], torch.tensor([2.0, 4 / 3]))


def test_a_reason_is_named_for_every_sample() -> None:
    rates = torch.tensor([[0.1], [0.99], [math.nan]])
    solution = solve(lambda z: rates * z + 1, torch.zeros(3, 1), solver=Picard(), tolerance=1e-3, max_steps=9)
    assert solution.reasons() == ("converged", "max_steps", "non_finite")


@pytest.mark.parametrize("solver", [Broyden(), Broyden(window=2), Anderson()])
def test_a_window_bounds_what_a_solver_remembers(solver: Solver[Any]) -> None:
    state, z = solver.init(torch.ones(2, 3)), torch.ones(2, 3)
    rates = torch.tensor([0.9, -0.5, 0.3])
    for _ in range(30):
        value = rates * z + 1
        advance = solver.step(state, z=z, value=value, distance=max_norm(value - z))
        z, state = advance.z, advance.state
        columns = state.u if isinstance(solver, Broyden) else state.error_steps
        assert len(columns) <= solver.window  # type: ignore[attr-defined]


def test_broyden_solves_a_linear_problem_in_twice_its_dimension_of_steps() -> None:
    matrix = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.2
    solution = solve(
        lambda z: (matrix @ z[:, :, None])[:, :, 0] + 1,
        torch.zeros(2, 4, dtype=torch.float64),
        solver=Broyden(),
        tolerance=1e-9,
        max_steps=30,
    )
    assert solution.reasons() == ("converged", "converged")
    assert int(solution.num_steps.max()) <= 10  # Gay (1979): 2n steps, and one to see it


def test_broyden_converges_on_every_kinked_contraction() -> None:
    generator = torch.Generator().manual_seed(0)
    offset, kink, side = torch.randn(3, 500, 1, generator=generator, dtype=torch.float64)
    z0 = torch.zeros_like(offset)
    solution = solve(
        lambda z: 2 * offset + 0.95 * side.sign() * (z - 2 * kink).abs(),
        z0,
        solver=Broyden(),
        tolerance=1e-8,
        max_steps=374,
    )
    assert bool(solution.converged.all())
    assert int(solution.fallback.sum()) > 0


def test_broyden_names_a_wrong_window() -> None:
    with pytest.raises(ValueError, match="window"):
        Broyden(window=0)


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


@pytest.mark.parametrize("wrong", [{"window": 0}, {"regularisation": -1.0}, {"damping": 0.0}, {"damping": 1.5}])
def test_anderson_names_a_wrong_setting(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Anderson(**wrong)  # type: ignore[arg-type]
