"""Picard iteration z <- f(z): the solver that cannot fail when the cell is a contraction.

`steps.evaluations_needed` says after how many evaluations. Where the cell is no contraction it may not converge at all,
although there is an equilibrium. The default solver of the layer, forward and backward.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lion_ray.implicit.solvers import Advance, Solver


@dataclass(frozen=True, kw_only=True)
class Picard(Solver[None]):
    """Plain fixed-point iteration; it has no state and nothing to fall back to."""

    is_accelerated = False

    def init(self, z0: Tensor, *, contraction: float | None = None) -> None:
        return None

    def step(self, state: None, *, z: Tensor, value: Tensor, distance: Tensor) -> Advance[None]:
        return Advance(z=value, state=None)
