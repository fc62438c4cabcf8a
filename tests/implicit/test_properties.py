"""Well-posedness as a property: drawn cells, masks and inputs, however wild, contract to one point in time."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lion_ray.implicit import Cell, ConvCell, LinearCell, Picard, max_norm, project_, solve

TOLERANCE = 1e-8
GAMMAS = st.floats(0.05, 0.9)
SCALES = st.sampled_from([0.0, 1e-3, 0.1, 1.0, 10.0, 1e4])


@st.composite
def cells(draw: st.DrawFn) -> tuple[Cell, Tensor]:
    """A float64 cell of any shape with weights of any scale, and an input."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    size = draw(st.integers(1, 12))
    shape: tuple[int, ...]
    cell: Cell
    if draw(st.booleans()):
        cell, shape = LinearCell(draw(st.integers(1, 9)), size, generator=generator), ()
        shape = (3, cell.U.shape[1])
    else:
        groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if size % g == 0]))
        kernel, dilation, stride = draw(st.sampled_from([1, 3, 5])), draw(st.integers(1, 3)), draw(st.integers(1, 4))
        cell = ConvCell(2, size, kernel, stride, groups, dilation, generator=generator)
        shape = (3, 2, draw(st.integers(1, 11)), draw(st.integers(1, 11)))
    cell = cell.double()
    with torch.no_grad():
        for parameter in cell.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(noise.abs() * draw(SCALES) if draw(st.booleans()) else noise * draw(SCALES))
    return cell, torch.randn(shape, generator=generator, dtype=torch.float64) * draw(SCALES)


@settings(deadline=None, max_examples=80, derandomize=True)
@given(drawn=cells(), gamma=GAMMAS, share=st.floats(0, 1))
def test_a_projected_and_masked_cell_contracts_to_one_point_in_the_steps_gamma_implies(
    drawn: tuple[Cell, Tensor], gamma: float, share: float
) -> None:
    cell, u = drawn
    project_(cell, gamma)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        cell.W.mul_(torch.rand(cell.W.shape, generator=generator) < share)
        assert float(cell.bound()) <= gamma
        injected = cell.inject(u)
        ends = [torch.randn(injected.shape, generator=generator, dtype=torch.float64) for _ in range(2)]
        images = [cell.step(end, injected) for end in ends]
        assert bool((max_norm(images[0] - images[1]) <= gamma * max_norm(ends[0] - ends[1]) * (1 + 1e-12)).all())
        promise = math.ceil(math.log(TOLERANCE / 4) / math.log(gamma)) + 1
        starts = [cell.start(injected), torch.zeros_like(injected), ends[0].clamp(-1, 1)]
        steps = [promise, promise, 10 * promise + 400]
        found = [
            solve(lambda z: cell.step(z, injected), z0, solver=Picard(), tolerance=TOLERANCE, max_steps=most)
            for z0, most in zip(starts, steps, strict=True)
        ]
    for solution in found[:2]:
        assert solution.reasons() == ("converged",) * 3
    left = TOLERANCE * gamma / (1 - gamma) * max_norm(found[0].z)
    for solution in found[1:]:
        assert bool((max_norm(solution.z - found[0].z) <= 2 * left + 1e-300).all()), "two starts, one equilibrium"
