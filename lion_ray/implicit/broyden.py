"""Broyden's "good" method on g(z) = f(z) - z with a memory of rank-one updates, one history per sample.

B, the estimate of the inverse Jacobian of g, starts at -I, which is the Picard step; each evaluation, whether it counts
or not (see `safeguard`), adds u v^T with u = (dz - B dg) / (dz^T B dg) and v^T = dz^T B. Powell's modification keeps
an update from making B singular. The step is -B g from the last point that counted, or a share of it.
Sources: Broyden, "A class of methods for solving nonlinear simultaneous equations", Math. Comp. 1965; Powell, "A hybrid
method for nonlinear equations", 1970; the patience with steps that lead up: Grippo, Lampariello and Lucidi, SIAM J.
Numer. Anal. 1986.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lion_ray.implicit.norms import flat
from lion_ray.implicit.safeguard import StallPatience, Standing, first, judged
from lion_ray.implicit.solvers import Advance, Solver, per_sample

PATIENCE = StallPatience(factor=2.0, memory=5, growth=math.inf)
WINDOW = 8
SMALLEST = 0.1  # |dz^T B dg| / dz^T dz below which an update is only taken in part


@dataclass(frozen=True, kw_only=True)
class Updates:
    """What Broyden remembers: B = -I + sum_i u_i v_i^T.

    z, error  the last evaluated z and f(z) - z, (B, ...); None before the first step.
    u, v      at most `window` columns, each (B, ...).
    contraction, standing  what is known of f, and where the search stands; None before the first step.
    """

    z: Tensor | None
    error: Tensor | None
    u: tuple[Tensor, ...]
    v: tuple[Tensor, ...]
    contraction: float | None
    standing: Standing | None


@dataclass(frozen=True, kw_only=True)
class Broyden(Solver[Updates]):
    """`window` is the number of updates after which B is -I again. None: 8 where f contracts, else all are kept.

    Where f does not contract a short memory is often not enough; what is kept then grows with the steps.
    """

    window: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise ValueError(f"window is {self.window}: keep at least 1 update, or use Picard()")

    def init(self, z0: Tensor, *, contraction: float | None = None) -> Updates:
        return Updates(z=None, error=None, u=(), v=(), contraction=contraction, standing=None)

    def step(self, state: Updates, *, z: Tensor, value: Tensor, distance: Tensor) -> Advance[Updates]:
        """From the last point that counted by a share of -B g, with B brought up to date; or the Picard step owed."""
        error = value - z
        if state.standing is None or state.z is None or state.error is None:
            standing = first(z, error, distance)
            return Advance(z=z + error, state=replace(state, z=z, error=error, standing=standing))
        standing = judged(state.standing, z, error, distance, contraction=state.contraction, patience=PATIENCE)
        window = self.window or (None if state.contraction is None else WINDOW)
        u, v = ((), ()) if len(state.u) == window else (state.u, state.v)
        column, row = _update(u, v, z - state.z, error - state.error)
        u, v = (*u, column), (*v, row)
        owed = standing.owed > 0
        share = per_sample(standing.share, z)
        proposal = standing.point - share * _times(u, v, standing.error)
        return Advance(
            z=torch.where(per_sample(owed, z), standing.point + standing.error, proposal),
            state=replace(state, z=z, error=error, u=u, v=v, standing=standing),
            fallback=owed | standing.refused,
        )


def _update(u: tuple[Tensor, ...], v: tuple[Tensor, ...], dz: Tensor, dg: Tensor) -> tuple[Tensor, Tensor]:
    """The new column u and row v; u is 0 where the denominator dz^T B dg is at rounding level."""
    estimate, row = _times(u, v, dg), _times(v, u, dz)
    square = _inner(dz, dz)
    curvature = _inner(dz, estimate) / torch.where(square > 0, square, 1)
    is_small = curvature.abs() < SMALLEST
    # Powell: the part of dg by which B would become singular is replaced by what B predicts of it.
    part = (1 - torch.where(curvature < 0, -SMALLEST, SMALLEST)) / torch.where(is_small, 1 - curvature, 1)
    mixed = dz + per_sample(part, dz) * (estimate - dz)
    estimate = torch.where(per_sample(is_small, dz), mixed, estimate)
    denominator = _inner(dz, estimate)
    scale = (square * _inner(estimate, estimate)).detach().sqrt()
    singular = ~(denominator.abs() > torch.finfo(dz.dtype).eps * scale)
    column = (dz - estimate) / per_sample(torch.where(singular, 1, denominator), dz)
    return torch.where(per_sample(singular, dz), 0, column), row


def _times(columns: tuple[Tensor, ...], rows: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """(-I + sum columns rows^T) x; with the two exchanged, its transpose times x."""
    result = -x
    for column, row in zip(columns, rows, strict=True):
        result = result + per_sample(_inner(row, x), x) * column
    return result


def _inner(x: Tensor, y: Tensor) -> Tensor:
    """Inner product per sample, (B,)."""
    return flat(x * y).sum(1)
