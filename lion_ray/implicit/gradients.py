"""How a gradient is sent through an equilibrium: modes as values behind one interface.

`Implicit` solves y = J^T y + g at z* (implicit function theorem); `Neumann` cuts its series after k terms and
`OneStep` after none. All three need memory that does not depend on the number of solver steps. `Unrolled`
differentiates the solver's own steps: the reference, with memory that grows by step.
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
from lion_ray.implicit.norms import distance_and_residual, sum_norm
from lion_ray.implicit.picard import Picard
from lion_ray.implicit.precision import exact_products
from lion_ray.implicit.solution import Solution
from lion_ray.implicit.solvers import FixedPointMap, Solver, check_settings, solve
from lion_ray.implicit.steps import evaluations_allowed

ForwardSolve: TypeAlias = Callable[[FixedPointMap, Tensor], Solution]
Observer: TypeAlias = Callable[[Solution], None]
_PICARD = Picard()


class Gradient(ABC):
    """Finds an equilibrium with `forward` and makes it differentiable."""

    @abstractmethod
    def equilibrium(
        self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer, contraction: float | None
    ) -> Solution:
        """The forward solution; its z carries gradients to `injected` and W. `observe` gets every backward solve.

        `contraction` < 1 bounds ||W||_inf, and with it the transposed product in the 1-norm; None: nothing does.
        """


@dataclass(frozen=True, kw_only=True)
class Unrolled(Gradient):
    """Differentiate through every solver step. Anderson's mixing weights count as constants: compare with Picard."""

    def equilibrium(
        self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer, contraction: float | None
    ) -> Solution:
        return forward(partial(cell.step, injected=injected), cell.start(injected))


class AdjointGradient(Gradient):
    """z* is found without a graph; backward turns the incoming g into y and sends y on to W, U, b and u."""

    @abstractmethod
    def adjoint(
        self, pull_back: FixedPointMap, grad: Tensor, observe: Observer, *, contraction: float | None = None
    ) -> Tensor:
        """y (B, ...), exact or not, for y = J^T y + g, given `pull_back(y) = J^T y` and g = `grad` (B, ...)."""

    def equilibrium(
        self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer, contraction: float | None
    ) -> Solution:
        with torch.no_grad():
            solution = forward(partial(cell.step, injected=injected), cell.start(injected))
        z: Tensor = _Adjoint.apply(injected, cell.W, solution.z, cell, self, observe, contraction)
        return replace(solution, z=z)


@dataclass(frozen=True, kw_only=True)
class Implicit(AdjointGradient):
    """The implicit function theorem, solved in the 1-norm, in which J^T contracts, with its own solver settings.

    `max_steps` None: as many as `evaluations_allowed` says of the layer's bound and this tolerance.
    """

    solver: Solver[Any] = _PICARD
    tolerance: float = 1e-5
    max_steps: int | None = None
    check_every: int | None = None

    def __post_init__(self) -> None:
        check_settings(tolerance=self.tolerance, max_steps=self.max_steps, check_every=self.check_every)

    def steps_allowed(self, contraction: float | None) -> int:
        """`max_steps`, or what it stands for under this bound."""
        allowed = evaluations_allowed(contraction, self.tolerance, accelerated=self.solver.is_accelerated)
        return self.max_steps or allowed

    def adjoint(
        self, pull_back: FixedPointMap, grad: Tensor, observe: Observer, *, contraction: float | None = None
    ) -> Tensor:
        """y within tolerance."""
        solution = solve(
            lambda y: pull_back(y).add_(grad),
            grad,
            solver=self.solver,
            tolerance=self.tolerance,
            max_steps=self.steps_allowed(contraction),
            norm=sum_norm,
            contraction=contraction,
            check_every=self.check_every,
        )
        observe(solution)
        return solution.z


@dataclass(frozen=True, kw_only=True)
class OneStep(AdjointGradient):
    """y = g: the gradient of the last step alone, "Jacobian-free" (Fung et al., AAAI 2022).

    There is no backward solve to observe. The relative error is at most gamma / (1 - gamma) in the 1-norm.
    """

    def adjoint(
        self, pull_back: FixedPointMap, grad: Tensor, observe: Observer, *, contraction: float | None = None
    ) -> Tensor:
        return grad


@dataclass(frozen=True, kw_only=True)
class Neumann(AdjointGradient):
    """y = g + J^T g + ... + (J^T)^k g, cut after `k` products (Geng et al., "On training implicit models", 2021)."""

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}: give at least 1 product, or use OneStep()")

    def adjoint(
        self, pull_back: FixedPointMap, grad: Tensor, observe: Observer, *, contraction: float | None = None
    ) -> Tensor:
        """The first k + 1 terms."""
        previous = y = grad
        for _ in range(self.k):
            previous, y = y, pull_back(y).add_(grad)
        _, residual = distance_and_residual(previous, y, sum_norm)
        steps = torch.full_like(residual, self.k, dtype=torch.int64)
        done = residual.isfinite()  # it is cut by choice: what is left is reported as residual, not as failure
        observe(Solution(z=y, residual=residual, num_steps=steps, converged=done, fallback=torch.zeros_like(steps)))
        return y


class _Adjoint(torch.autograd.Function):
    """Identity on z*; backward replaces the incoming g by y and hands it to the cell's inputs.

    The weight is saved as a tensor: changing it between forward and backward is an error, as everywhere in autograd.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        injected: Tensor,
        weight: Tensor,
        z_star: Tensor,
        cell: Cell,
        gradient: AdjointGradient,
        observe: Observer,
        contraction: float | None,
    ) -> Tensor:
        ctx.save_for_backward(weight, z_star)
        ctx.how = (cell, gradient, observe, contraction)  # type: ignore[attr-defined]
        return z_star.view_as(z_star)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Solve for y and send it on."""
        (weight, z_star), (cell, gradient, observe, contraction) = ctx.saved_tensors, ctx.how
        with exact_products(grad.device):
            slope = cell.slope(z_star)
            grad = torch.empty_like(z_star).copy_(grad)  # in the layout of the states
            y = gradient.adjoint(lambda y: cell.pull_back(weight, slope * y), grad, observe, contraction=contraction)
            y = slope * y
            weight_gradient = cell.weight_gradient(z_star, y) if ctx.needs_input_grad[1] else None
        return y, weight_gradient, None, None, None, None, None
