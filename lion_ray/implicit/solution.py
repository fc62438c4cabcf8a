"""The result of an equilibrium solve.

Every field is per sample, so a sample that did not converge or is not finite is reported beside others that did.
`solvers.solve` returns it; `gradients` and `health` read it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The result of a solve for each of B samples.

    Attributes:
        z: (B, ...) f(z) of the last evaluation, or of the best one if the solver is accelerated. An accelerated solver
            without a contraction factor returns the evaluated z instead, because f(z) may be further away.
        residual: (B,) ||f(z) - z|| / ||f(z)|| of that evaluation. If f contracts by c, c / (1 - c) times the residual
            bounds the distance of z from the equilibrium, relative to ||z||.
        num_steps: (B,) int64, evaluations of f until the sample stopped.
        converged: (B,) bool, whether the residual is finite and within the tolerance.
        fallback: (B,) int64, Picard steps and returns to an earlier point (see `safeguard`) among the steps.
    """

    z: Tensor
    residual: Tensor
    num_steps: Tensor
    converged: Tensor
    fallback: Tensor

    def reasons(self) -> tuple[str, ...]:
        """Why each sample stopped: `converged`, `non_finite` or `max_steps`. Synchronises with the device."""
        pairs = zip(self.converged.tolist(), self.residual.isfinite().tolist(), strict=True)
        return tuple("converged" if done else "max_steps" if finite else "non_finite" for done, finite in pairs)
