"""Cells without a bound: what has an equilibrium is solved at least as often as by torchdeq, and nothing is made up."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torchdeq.solver import get_solver

from lion_ray.implicit import Anderson, Broyden, Implicit, ImplicitLayer, LinearCell, Solver, Unrolled, max_norm, solve
from lion_ray.implicit.solvers import FixedPointMap

TOLERANCE, EVALUATIONS, SIZE, BATCH = 1e-4, 60, 64, 32
ACCELERATED: list[tuple[str, Solver[Any]]] = [("anderson", Anderson()), ("broyden", Broyden())]


def matrices() -> Iterator[tuple[str, Tensor, Tensor]]:
    """Repelling, indefinite and chaotic ones among them, each with its inputs."""
    generator = torch.Generator().manual_seed(0)
    kinds = [("identity", 0.9), ("identity", 1.5), ("identity", 3.0), ("rows", 0.9), ("rows", 5.0)]
    kinds += [("negative definite", 1.0), ("negative definite", 3.0), ("gauss", 0.8), ("gauss", 1.5), ("gauss", 3.0)]
    for kind, scale in kinds:
        u = torch.randn(BATCH, SIZE, generator=generator)
        noise = None if kind == "identity" else torch.randn(SIZE, SIZE, generator=generator)
        if noise is None:
            W = -scale * torch.eye(SIZE)
        elif kind == "rows":
            W = scale * noise / noise.abs().sum(1, keepdim=True)
        else:
            noise = noise / SIZE**0.5
            W = scale * (noise if kind == "gauss" else -noise @ noise.T)
        yield f"{kind} {scale}", W, u


def solved(f: FixedPointMap, z: Tensor) -> Tensor:
    """Whether each point is an equilibrium to the tolerance, asked of f itself."""
    value = f(z)
    return max_norm(value - z) <= TOLERANCE * max_norm(value)


@pytest.mark.parametrize(("name", "solver"), ACCELERATED)
def test_at_least_as_many_equilibria_are_found_as_by_torchdeq_in_as_many_evaluations(
    name: str, solver: Solver[Any]
) -> None:
    found = {}
    for what, W, u in matrices():

        def f(z: Tensor, W: Tensor = W, u: Tensor = u) -> Tensor:
            return torch.tanh(z @ W.T + u)

        ours = solve(f, torch.tanh(u), solver=solver, tolerance=TOLERANCE, max_steps=EVALUATIONS)
        with warnings.catch_warnings(action="ignore"):
            most = EVALUATIONS - (name == "broyden")  # it does not count the first one
            theirs, *_ = get_solver(name)(f, torch.tanh(u), max_iter=most, tol=TOLERANCE / 10, stop_mode="rel")
        assert torch.equal(ours.converged, solved(f, ours.z)), f"{what}: what is called converged is an equilibrium"
        found[what] = (int(ours.converged.sum()), int(solved(f, theirs).sum()))
    assert all(ours >= theirs for ours, theirs in found.values()), found
    repelling = [found[f"{kind}"][0] for kind in ("identity 1.5", "identity 3.0", "negative definite 3.0")]
    assert repelling == [BATCH] * 3


def repelling_layer(solver: Solver[Any], **options: Any) -> ImplicitLayer:
    """W is -3 I and a little more: Picard's steps lead away from its equilibria, there and back."""
    cell = LinearCell(5, 8, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        cell.W.sub_(3 * torch.eye(8))
    options = {"gradient": Implicit(solver=solver, tolerance=1e-11), **options}
    return ImplicitLayer(cell, solver=solver, gamma=None, tolerance=1e-11, **options)


@pytest.mark.parametrize(("name", "solver"), ACCELERATED)
def test_gradients_through_a_repelling_cell_are_those_of_the_implicit_function_theorem(
    name: str, solver: Solver[Any]
) -> None:
    layer = repelling_layer(solver)
    u = 0.1 * torch.randn(6, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    u.requires_grad_()
    z = layer(u)
    (found,) = torch.autograd.grad(z.sin().sum(), u)
    slope, W, U = 1 - z.detach() ** 2, layer.cell.W.detach(), layer.cell.U.detach()
    jacobian = slope[:, :, None] * W
    y = torch.linalg.solve(torch.eye(8) - jacobian.mT, z.detach().cos()[:, :, None])[:, :, 0]
    torch.testing.assert_close(found, (slope * y) @ U, rtol=1e-8, atol=1e-10)
    health = layer.health()
    assert health["share_unconverged"] == health["share_unconverged_backward"] == 0


@pytest.mark.parametrize(("name", "solver"), ACCELERATED)
def test_unrolled_gradients_stay_finite_where_a_sample_is_solved_exactly_and_others_go_on(
    name: str, solver: Solver[Any]
) -> None:
    layer = repelling_layer(solver, gradient=Unrolled())
    u = torch.randn(3, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    u[1] = 0  # f(0) = 0
    (found,) = torch.autograd.grad(layer(u.requires_grad_()).sum(), u)
    assert bool(found.isfinite().all())


@pytest.mark.parametrize(("name", "solver"), ACCELERATED)
def test_what_has_no_equilibrium_ends_with_its_best_point_and_says_so(name: str, solver: Solver[Any]) -> None:
    def f(z: Tensor) -> Tensor:
        return torch.where(z > 0, -1.0, 1.0)

    solution = solve(f, torch.full((2, 3), 0.3), solver=solver, tolerance=TOLERANCE, max_steps=30)
    assert solution.reasons() == ("max_steps",) * 2
    assert torch.equal(solution.residual, max_norm(f(solution.z) - solution.z) / max_norm(f(solution.z)))
