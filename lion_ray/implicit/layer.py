"""The equilibrium layer: a cell, a solver and a gradient mode as one module u -> z*.

LION puts one layer before the frozen backbone and one behind it. The solve runs in the parameters' precision (fp32 or
float64) even under autocast, because in bf16 the residual stalls above any useful tolerance.

The bound gamma limits the evaluations of a solve in the worst case (`steps`). For gamma 0.8 they are 49 forward with
tolerance 1e-4 and 59 backward with 1e-5. A W at the bound whose signs are random needs 4 to 6.
`lion_ray.methods.lion` builds the layer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lion_ray.implicit.cells import Cell
from lion_ray.implicit.gradients import Gradient, Implicit
from lion_ray.implicit.health import SolveStatistics
from lion_ray.implicit.picard import Picard
from lion_ray.implicit.precision import exact_products
from lion_ray.implicit.projection import check_gamma, project_
from lion_ray.implicit.solution import Solution
from lion_ray.implicit.solvers import Solver, check_settings, solve
from lion_ray.implicit.steps import evaluations_allowed

DEFAULT_GAMMA = 0.8
_PICARD = Picard()
_IMPLICIT = Implicit()


class ImplicitLayer(nn.Module):
    """The equilibrium z* = f(z*; u), differentiable in u and in the cell's parameters.

    The caller runs `project_()` after every optimizer step and every mask; the constructor runs it once.

    Args:
        cell: the map f.
        solver: the solver of the forward solve.
        gradient: the gradient mode, with the settings of the backward solve.
        gamma: the bound of ||W||_inf in (0, 1); None leaves the cell unconstrained.
        tolerance: largest relative residual of the forward solve.
        max_steps: evaluation limit; None takes what gamma and tolerance need, and at least 60 (`evaluations_allowed`).
        check_every: steps between two checks whether all samples are done; None takes the default of `solve`.

    Raises:
        ValueError: a setting is out of range.
    """

    def __init__(
        self,
        cell: Cell,
        *,
        solver: Solver[Any] = _PICARD,
        gradient: Gradient = _IMPLICIT,
        gamma: float | None = DEFAULT_GAMMA,
        tolerance: float = 1e-4,
        max_steps: int | None = None,
        check_every: int | None = None,
    ) -> None:
        super().__init__()
        check_gamma(gamma)
        check_settings(tolerance=tolerance, max_steps=max_steps, check_every=check_every)
        self.cell, self.solver, self.gradient, self.gamma = cell, solver, gradient, gamma
        self.tolerance, self.check_every = tolerance, check_every
        self.max_steps = max_steps or evaluations_allowed(gamma, tolerance, accelerated=solver.is_accelerated)
        self.reset_health()
        self.project_()

    def forward(self, u: Tensor) -> Tensor:
        """The equilibrium z* (B, ...) of u (B, ...), in the dtype of u."""
        return self.solve(u).z.to(u.dtype)

    def solve(self, u: Tensor) -> Solution:
        """The whole solution for u (B, ...), in the precision of the solve. Its z is differentiable."""
        with exact_products(u.device):
            injected = self.cell.inject(in_solve_precision(u, self.cell.W.dtype))
            forward = partial(
                solve,
                solver=self.solver,
                tolerance=self.tolerance,
                max_steps=self.max_steps,
                contraction=self.gamma,
                check_every=self.check_every,
            )
            solution = self.gradient.equilibrium(
                self.cell, injected, forward=forward, observe=self._backward_statistics.add, contraction=self.gamma
            )
        self._forward_statistics.add(solution)
        return solution

    def project_(self) -> None:
        """Project W to the bound gamma, in place."""
        project_(self.cell, self.gamma)

    def reset_health(self) -> None:
        """Set all statistics to zero."""
        self._forward_statistics, self._backward_statistics = SolveStatistics(), SolveStatistics()

    def health(self) -> dict[str, float]:
        """Statistics since the last reset, as floats. Those of the backward solves have the suffix `_backward`.

        `bound_used` is ||W||_inf / gamma, or ||W||_inf for an unconstrained cell.
        """
        backward = {f"{name}_backward": value for name, value in self._backward_statistics.figures().items()}
        bound_used = float(self.cell.bound()) / (1.0 if self.gamma is None else self.gamma)
        return {**self._forward_statistics.figures(), **backward, "bound_used": bound_used}


def in_solve_precision(u: Tensor, precision: torch.dtype) -> Tensor:
    """Convert a bf16 or fp16 input to the precision of the parameters.

    Raises:
        ValueError: the parameters are neither float32 nor float64, or the input has another precision than they.
    """
    if precision not in (torch.float32, torch.float64):
        raise ValueError(f"parameters are {precision}: keep them float32 or float64 and use autocast instead")
    if u.dtype in (torch.bfloat16, torch.float16):
        u = u.to(precision)
    if u.dtype != precision:
        raise ValueError(f"input is {u.dtype}, parameters are {precision}: convert one of them with .to()")
    return u
