"""Picard iteration z <- f(z): the solver that cannot fail when the cell is a contraction.

From zero, under a bound gamma < 1, a relative tolerance is reached within ceil(log(tol / 4) / log(gamma)) + 1
evaluations, above rounding: steps shrink by gamma each time, and the equilibrium is no smaller than about half the
first iterate. The default solver of the layer, forward and backward.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lion_ray.implicit.solvers import Advance, Solver


@dataclass(frozen=True, kw_only=True)
class Picard(Solver[None]):
    """Plain fixed-point iteration; it has no state and nothing to fall back to."""

    def init(self, z0: Tensor) -> None:
        return None

    def step(self, state: None, *, z: Tensor, value: Tensor, distance: Tensor) -> Advance[None]:
        return Advance(z=value, state=None)
