"""How a gradient is sent through an equilibrium: modes as values behind one interface.

`Implicit` solves y = J^T y + g at z* (implicit function theorem), in memory that does not depend on the number of
solver steps. `Unrolled` differentiates the solver's own steps: the reference, with memory that grows by step.
A mode that only changes how y is found (Jacobian-free, Neumann) is another leaf of `AdjointGradient`.
First-order only: a second backward raises. Chosen by config, called by `layer.ImplicitLayer`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from lion_ray.implicit.cells import Cell
from lion_ray.implicit.norms import sum_norm
from lion_ray.implicit.picard import Picard
from lion_ray.implicit.solution import Solution
from lion_ray.implicit.solvers import FixedPointMap, Solver, check_settings, solve

ForwardSolve: TypeAlias = Callable[[FixedPointMap], Solution]
Observer: TypeAlias = Callable[[Solution], None]
_PICARD = Picard()


class Gradient(ABC):
    """Finds an equilibrium with `forward` and makes it differentiable."""

    @abstractmethod
    def equilibrium(self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer) -> Solution:
        """The forward solution; its z carries gradients to `injected` and W. `observe` gets every backward solve."""


@dataclass(frozen=True, kw_only=True)
class Unrolled(Gradient):
    """Differentiate through every solver step. Anderson's mixing weights count as constants: compare with Picard."""

    def equilibrium(self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer) -> Solution:
        return forward(partial(cell.step, injected=injected))


class AdjointGradient(Gradient):
    """z* is found without a graph; one tracked evaluation f(z*) then sends y on to W, U, b and u.

    Parameter gradients come from ordinary autograd nodes, so DDP hooks and partial `requires_grad` work as usual.
    """

    @abstractmethod
    def adjoint(self, pull_back: FixedPointMap, grad: Tensor) -> Solution:
        """Solve for y (B, ...) given `pull_back(y) = J^T y` and g = `grad` (B, ...)."""

    def equilibrium(self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer) -> Solution:
        with torch.no_grad():
            solution = forward(partial(cell.step, injected=injected))
        if not (torch.is_grad_enabled() and (injected.requires_grad or cell.W.requires_grad)):
            return solution
        tracked = cell.step(solution.z, injected)
        z: Tensor = _Adjoint.apply(tracked, solution.z, cell.W.detach(), cell, self, observe)
        return replace(solution, z=z)


@dataclass(frozen=True, kw_only=True)
class Implicit(AdjointGradient):
    """The implicit function theorem, solved in the 1-norm, in which J^T contracts, with its own solver settings."""

    solver: Solver[Any] = _PICARD
    tolerance: float = 1e-5
    max_steps: int = 60

    def __post_init__(self) -> None:
        check_settings(tolerance=self.tolerance, max_steps=self.max_steps)

    def adjoint(self, pull_back: FixedPointMap, grad: Tensor) -> Solution:
        return solve(
            lambda y: pull_back(y) + grad,
            grad,
            solver=self.solver,
            tolerance=self.tolerance,
            max_steps=self.max_steps,
            norm=sum_norm,
        )


class _Adjoint(torch.autograd.Function):
    """Identity on z*; backward replaces the incoming g by y and hands it to the tracked evaluation.

    The weight is saved as a tensor: changing it between forward and backward is an error, as everywhere in autograd.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        tracked: Tensor,
        z_star: Tensor,
        weight: Tensor,
        cell: Cell,
        gradient: AdjointGradient,
        observe: Observer,
    ) -> Tensor:
        ctx.save_for_backward(tracked, weight)
        ctx.how = (cell, gradient, observe)  # type: ignore[attr-defined]
        return z_star.view_as(z_star)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Solve for y and send it on."""
        (tracked, weight), (cell, gradient, observe) = ctx.saved_tensors, ctx.how
        with torch.autocast(grad.device.type, enabled=False):
            slope = cell.slope(tracked)
            solution = gradient.adjoint(lambda y: cell.pull_back(weight, slope * y), grad.contiguous())
        observe(solution)
        return solution.z, None, None, None, None, None
