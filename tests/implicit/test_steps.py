"""Under a bound every solve ends: in how many evaluations, and that they are allowed without being asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lion_ray.implicit import (
    Anderson,
    Broyden,
    Implicit,
    ImplicitLayer,
    Picard,
    Solver,
    evaluations_allowed,
    evaluations_needed,
    solve,
)
from tests.support.cells import adversarial_cell


def test_the_steps_of_the_default_bound_and_beyond() -> None:
    assert evaluations_needed(0.5, 1e-4) == 17
    assert evaluations_needed(0.9, 1e-4) == 102
    assert evaluations_needed(0.0, 1e-4) == evaluations_needed(0.5, 10.0) == 1
    assert evaluations_allowed(0.5, 1e-4) == evaluations_allowed(None, 1e-4) == 60
    assert evaluations_allowed(0.9, 1e-4) == 102


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("solver", [Picard(), Anderson(), Broyden()])
@pytest.mark.parametrize("gamma", [0.9, 0.98])
def test_no_solve_under_a_bound_runs_out_of_steps(gamma: float, solver: Solver[Any], dtype: torch.dtype) -> None:
    most = 0.0
    for kind, sign in (("linear", 1), ("linear", -1), ("conv", 1)):
        gradient = Implicit(solver=solver, tolerance=1e-4)
        layer = ImplicitLayer(
            adversarial_cell(kind, sign, gamma).to(dtype), solver=solver, gamma=gamma, gradient=gradient
        )
        u = torch.rand((4, 5) if kind == "linear" else (4, 3, 17, 17), generator=torch.Generator().manual_seed(1))
        u = (u * torch.logspace(-3, 1, 4).reshape(-1, *[1] * (u.dim() - 1))).to(dtype).requires_grad_()
        torch.autograd.backward(layer(u).sum())
        health = layer.health()
        assert health["share_unconverged"] == health["share_unconverged_backward"] == 0
        most = max(most, health["steps_max"])
    assert (most > 60) == isinstance(solver, Picard), "60 steps are not enough for it on one of these cells"


@pytest.mark.parametrize("solver", [Anderson(), Anderson(window=1), Broyden(), Broyden(window=1)])
@pytest.mark.parametrize("contraction", [0.5, 0.95])
def test_misleading_secants_cost_a_contraction_no_more_than_the_logarithm_of_its_steps(
    contraction: float, solver: Solver[Any]
) -> None:
    generator = torch.Generator().manual_seed(0)
    offset, kink, side = torch.randn(3, 2000, 3, generator=generator, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(2000, 3, 3, generator=generator, dtype=torch.float64))
    rows = turn * (
        contraction / turn.abs().sum(2, keepdim=True)
    )  # kinked in every direction, and each row at the bound

    def f(z: Tensor) -> Tensor:
        bent: Tensor = side.sign() * (z - 2 * kink).abs()
        image: Tensor = 2 * offset + (rows * bent[:, None]).sum(2)
        return image

    needed = evaluations_needed(contraction, 1e-8, accelerated=True)
    solution = solve(
        f, torch.zeros_like(offset), solver=solver, tolerance=1e-8, max_steps=needed, contraction=contraction
    )
    assert bool(solution.converged.all())
    assert int(solution.fallback.sum()) > 0
