"""The answer of an equilibrium solve, as a value.

Every field is per sample, so one sample that did not converge, or is not finite, is reported
beside neighbours that did. Written by `solvers.solve`, read by the gradients and by the health tally.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What a solver reached for each of B samples.

    z          (B, ...)   the last evaluated f(z); never the starting point.
    residual   (B,)       ||f(z) - z|| / ||f(z)|| of that evaluation; under a contraction, a bound on what z has left.
    num_steps  (B,) int64 evaluations of f until the sample stopped.
    converged  (B,) bool  the residual is finite and within the tolerance.
    fallback   (B,) int64 steps in which the solver had to take a Picard step instead of its own.
    """

    z: Tensor
    residual: Tensor
    num_steps: Tensor
    converged: Tensor
    fallback: Tensor

    def reasons(self) -> tuple[str, ...]:
        """Why each sample stopped, by name: `converged`, `non_finite` or `max_steps`. Reads the device."""
        pairs = zip(self.converged.tolist(), self.residual.isfinite().tolist(), strict=True)
        return tuple("converged" if done else "max_steps" if finite else "non_finite" for done, finite in pairs)
