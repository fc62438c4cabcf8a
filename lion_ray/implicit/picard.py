"""Picard iteration z <- f(z), the solver that always converges if the cell is a contraction.

`steps.evaluations_needed` bounds its evaluations. If the cell is no contraction, the iteration may diverge although an
equilibrium exists. It is the default solver of `layer.ImplicitLayer`, forward and backward.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lion_ray.implicit.solvers import Solver, SolverStep


@dataclass(frozen=True, kw_only=True)
class Picard(Solver[None]):
    """Plain fixed-point iteration. It has no state and takes no fallback steps."""

    is_accelerated = False

    def init(self, z0: Tensor, *, contraction: float | None = None) -> None:
        return None

    def step(self, state: None, *, z: Tensor, value: Tensor, distance: Tensor) -> SolverStep[None]:
        return SolverStep(z=value, state=None)
