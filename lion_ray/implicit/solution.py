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

    z          (B, ...)   f(z) at the last evaluation, of an accelerated solver at the best one; where that solver does
                          not know that f contracts, the z of that evaluation itself, since f(z) may be further away.
    residual   (B,)       ||f(z) - z|| / ||f(z)|| of that evaluation; under a contraction by c, c / (1 - c) times it
                          bounds how far z is from the equilibrium, relative to ||z||.
    num_steps  (B,) int64 evaluations of f until the sample stopped.
    converged  (B,) bool  the residual is finite and within the tolerance.
    fallback   (B,) int64 steps that were not the solver's own: Picard's, or back to an earlier point (see `safeguard`).
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
