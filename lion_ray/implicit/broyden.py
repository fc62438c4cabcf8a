"""Broyden's "good" method on g(z) = f(z) - z, with limited memory and separate rank-one updates per sample.

B estimates the inverse Jacobian of g. It starts at -I, which gives the Picard step. Each evaluation, accepted or not
(see `safeguard`), adds u v^T with u = (dz - B dg) / (dz^T B dg) and v^T = dz^T B. Powell's modification keeps B
non-singular. The step is -B g from the last accepted point, or a share of it. `lion_ray.methods.equilibrium` builds it.
Sources: Broyden, "A class of methods for solving nonlinear simultaneous equations", Math. Comp. 1965; Powell, "A hybrid
method for nonlinear equations", 1970; for the acceptance of steps: Grippo, Lampariello and Lucidi, SIAM J. Numer. Anal.
1986.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lion_ray.implicit.norms import flat
from lion_ray.implicit.safeguard import AcceptanceRule, SafeguardState, initial_safeguard, updated_safeguard
from lion_ray.implicit.solvers import Solver, SolverStep, per_sample

ACCEPTANCE = AcceptanceRule(factor=2.0, memory=5, growth=math.inf)
WINDOW = 8
SMALLEST = 0.1  # below this |dz^T B dg| / dz^T dz only a part of an update is applied


@dataclass(frozen=True, kw_only=True)
class BroydenState:
    """The state of Broyden's method between two steps: the estimate -I + sum_i u_i v_i^T and the last evaluation.

    Attributes:
        z, error: (B, ...) the last evaluated z and f(z) - z; None before the first step.
        u, v: at most `window` columns and rows, each (B, ...).
        contraction: the factor < 1 by which f contracts; None if no factor is known.
        safeguard: the accepted points and rejections; None before the first step.
    """

    z: Tensor | None
    error: Tensor | None
    u: tuple[Tensor, ...]
    v: tuple[Tensor, ...]
    contraction: float | None
    safeguard: SafeguardState | None


@dataclass(frozen=True, kw_only=True)
class Broyden(Solver[BroydenState]):
    """Broyden's method.

    Args:
        window: the number of updates after which B is reset to -I. None stands for 8 where f contracts; elsewhere all
            updates are kept, because a short memory often does not suffice, and memory grows with the steps.

    Raises:
        ValueError: `window` is below 1.
    """

    window: int | None = None

    def __post_init__(self) -> None:
        if self.window is not None and self.window < 1:
            raise ValueError(f"window is {self.window}: keep at least 1 update, or use Picard()")

    def init(self, z0: Tensor, *, contraction: float | None = None) -> BroydenState:
        return BroydenState(z=None, error=None, u=(), v=(), contraction=contraction, safeguard=None)

    def step(self, state: BroydenState, *, z: Tensor, value: Tensor, distance: Tensor) -> SolverStep[BroydenState]:
        """See `Solver.step`. Updates B and steps by a share of -B g from the last accepted point, or by Picard."""
        error = value - z
        if state.safeguard is None or state.z is None or state.error is None:
            safeguard = initial_safeguard(z, error, distance)
            return SolverStep(z=z + error, state=replace(state, z=z, error=error, safeguard=safeguard))
        safeguard = updated_safeguard(
            state.safeguard, z, error, distance, contraction=state.contraction, acceptance=ACCEPTANCE
        )
        window = self.window or (None if state.contraction is None else WINDOW)
        u, v = ((), ()) if len(state.u) == window else (state.u, state.v)
        column, row = _update(u, v, z - state.z, error - state.error)
        u, v = (*u, column), (*v, row)
        is_picard = safeguard.picard_steps_left > 0
        share = per_sample(safeguard.step_share, z)
        proposal = safeguard.point - share * _times(u, v, safeguard.error)
        return SolverStep(
            z=torch.where(per_sample(is_picard, z), safeguard.point + safeguard.error, proposal),
            state=replace(state, z=z, error=error, u=u, v=v, safeguard=safeguard),
            fallback=is_picard | safeguard.rejected,
        )


def _update(u: tuple[Tensor, ...], v: tuple[Tensor, ...], dz: Tensor, dg: Tensor) -> tuple[Tensor, Tensor]:
    """The new column u and row v; u is 0 where the denominator dz^T B dg is at rounding level."""
    estimate, row = _times(u, v, dg), _times(v, u, dz)
    square = _inner(dz, dz)
    curvature = _inner(dz, estimate) / torch.where(square > 0, square, 1)
    is_small = curvature.abs() < SMALLEST
    # Powell: the part of dg that would make B singular is replaced by the part that B predicts.
    part = (1 - torch.where(curvature < 0, -SMALLEST, SMALLEST)) / torch.where(is_small, 1 - curvature, 1)
    mixed = dz + per_sample(part, dz) * (estimate - dz)
    estimate = torch.where(per_sample(is_small, dz), mixed, estimate)
    denominator = _inner(dz, estimate)
    scale = (square * _inner(estimate, estimate)).detach().sqrt()
    singular = ~(denominator.abs() > torch.finfo(dz.dtype).eps * scale)
    column = (dz - estimate) / per_sample(torch.where(singular, 1, denominator), dz)
    return torch.where(per_sample(singular, dz), 0, column), row


def _times(columns: tuple[Tensor, ...], rows: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """(-I + sum columns rows^T) x. With columns and rows exchanged it is the transpose times x."""
    result = -x
    for column, row in zip(columns, rows, strict=True):
        result = result + per_sample(_inner(row, x), x) * column
    return result


def _inner(x: Tensor, y: Tensor) -> Tensor:
    """Inner product per sample, (B,)."""
    return flat(x * y).sum(1)
