"""Broyden's "good" method on g(z) = f(z) - z with a limited memory of rank-one updates, one history per sample.

B, the estimate of the inverse Jacobian of g, starts at -I, which is the Picard step; each step adds
u v^T with u = (dz - B dg) / (dz^T B dg) and v^T = dz^T B. After `window` updates all are dropped and B is -I again,
so memory does not grow with steps. A sample whose residual did not improve, or whose update is singular, drops its
history, takes the Picard step and is counted: under a contraction that can delay convergence but not prevent it.
Source: Broyden, "A class of methods for solving nonlinear simultaneous equations", Math. Comp. 1965.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lion_ray.implicit.norms import flat
from lion_ray.implicit.solvers import Advance, Solver, per_sample


@dataclass(frozen=True, kw_only=True)
class Updates:
    """What Broyden remembers: B = -I + sum_i u_i v_i^T over the columns a sample may use.

    z, error  the last iterate and f(z) - z, (B, ...); None before the first step.
    u, v      at most `window` columns, each (B, ...); zero for a sample that dropped its history.
    best      smallest distance ||f(z) - z|| so far, (B,).
    """

    z: Tensor | None
    error: Tensor | None
    u: tuple[Tensor, ...]
    v: tuple[Tensor, ...]
    best: Tensor


@dataclass(frozen=True, kw_only=True)
class Broyden(Solver[Updates]):
    """Limited-memory Broyden; `window` is the number of updates kept before starting afresh."""

    window: int = 8

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window is {self.window}: keep at least 1 update, or use Picard()")

    def init(self, z0: Tensor) -> Updates:
        return Updates(z=None, error=None, u=(), v=(), best=z0.new_full((z0.shape[0],), math.inf))

    def step(self, state: Updates, *, z: Tensor, value: Tensor, distance: Tensor) -> Advance[Updates]:
        """z - B g(z), with B brought up to date by the last step; the Picard step for samples that fall back."""
        error = value - z
        fallback = ~(distance < state.best)
        u, v = state.u, state.v
        if state.z is not None and state.error is not None:
            if len(u) == self.window:
                u, v = (), ()
            column, row, singular = _update(u, v, z - state.z, error - state.error)
            fallback = fallback | singular
            u, v = (*u, column), (*v, row)
            drop = per_sample(fallback, z)
            u, v = (tuple(torch.where(drop, 0, x) for x in side) for side in (u, v))
        best = torch.minimum(state.best, distance)
        proposal = z - _times(u, v, error)
        return Advance(z=proposal, state=Updates(z=z, error=error, u=u, v=v, best=best), fallback=fallback)


def _update(u: tuple[Tensor, ...], v: tuple[Tensor, ...], dz: Tensor, dg: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The new column u, row v, and which samples' denominators dz^T B dg are at rounding level, (B,)."""
    estimate, row = _times(u, v, dg), _times(v, u, dz)
    denominator = _inner(dz, estimate)
    scale = (_inner(dz, dz) * _inner(estimate, estimate)).sqrt()
    singular = ~(denominator.abs() > torch.finfo(dz.dtype).eps * scale)
    column = (dz - estimate) / per_sample(torch.where(singular, 1, denominator), dz)
    return column, row, singular


def _times(columns: tuple[Tensor, ...], rows: tuple[Tensor, ...], x: Tensor) -> Tensor:
    """(-I + sum columns rows^T) x; with the two exchanged, its transpose times x."""
    result = -x
    for column, row in zip(columns, rows, strict=True):
        result = result + per_sample(_inner(row, x), x) * column
    return result


def _inner(x: Tensor, y: Tensor) -> Tensor:
    """Inner product per sample, (B,)."""
    return flat(x * y).sum(1)
