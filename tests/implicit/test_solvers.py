"""Solvers and what they promise: step counts under the bound, one equilibrium, limited memory."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lion_ray.implicit import (
    Anderson,
    Broyden,
    Implicit,
    ImplicitLayer,
    Picard,
    Solver,
)
from lion_ray.implicit.norms import max_norm
from tests.support.cells import adversarial_cell

SOLVERS = [Picard(), Anderson(), Anderson(window=1), Anderson(window=2, damping=0.7), Broyden(), Broyden(window=1)]


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


@pytest.mark.parametrize("solver", [Broyden(window=8), Broyden(window=2), Anderson()])
def test_a_window_bounds_what_a_solver_remembers(solver: Solver[Any]) -> None:
    state, z = solver.init(torch.ones(2, 3)), torch.ones(2, 3)
    rates = torch.tensor([0.9, -0.5, 0.3])
    for _ in range(30):
        value = rates * z + 1
        advance = solver.step(state, z=z, value=value, distance=max_norm(value - z))
        z, state = advance.z, advance.state
        columns = state.u if isinstance(solver, Broyden) else state.error_steps
        assert len(columns) <= solver.window  # type: ignore[attr-defined]
