"""Anderson and Broyden where they could go wrong: singular systems, kinks, wrong settings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lion_ray.implicit import (
    Anderson,
    Broyden,
    Picard,
    solve,
)
from lion_ray.implicit.norms import sum_norm


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


@pytest.mark.parametrize("wrong", [{"window": 0}, {"regularisation": -1.0}, {"damping": 0.0}, {"damping": 1.5}])
def test_anderson_names_a_wrong_setting(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Anderson(**wrong)  # type: ignore[arg-type]
