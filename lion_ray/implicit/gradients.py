"""Gradient modes of an equilibrium, as values behind one interface.

`Implicit` solves y = J^T y + g at z* (implicit function theorem). `Neumann` cuts the Neumann series of this solution
after k products, and `OneStep` before the first. The memory of these three does not depend on the number of solver
steps. `Unrolled` differentiates through the solver's steps; it is the reference, and its memory grows with each step.
Gradients are of first order: a second backward raises. The study file chooses the mode, `layer.ImplicitLayer` calls it.
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
    """A gradient mode: it finds an equilibrium and makes it differentiable."""

    @abstractmethod
    def equilibrium(
        self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer, contraction: float | None
    ) -> Solution:
        """Solve forward and connect the solution's z to the graph.

        Args:
            cell: the map f; its W receives a gradient.
            injected: (B, ...) U u + b; it receives a gradient.
            forward: runs the forward solve for a map and a starting point.
            observe: called with the `Solution` of every backward solve.
            contraction: an upper bound < 1 of ||W||_inf, which also bounds the transposed product in the 1-norm; None
                if there is no bound.

        Returns:
            The forward solution with a differentiable z.
        """


@dataclass(frozen=True, kw_only=True)
class Unrolled(Gradient):
    """Differentiate through every solver step. Anderson's mixing weights count as constants; Picard is exact."""

    def equilibrium(
        self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer, contraction: float | None
    ) -> Solution:
        return forward(partial(cell.step, injected=injected), cell.start(injected))


class AdjointGradient(Gradient):
    """Find z* without a graph. Backward turns the incoming gradient g into y and passes y on to W, U, b and u."""

    @abstractmethod
    def adjoint(
        self, pull_back: FixedPointMap, grad: Tensor, observe: Observer, *, contraction: float | None = None
    ) -> Tensor:
        """An exact or approximate solution of y = J^T y + g.

        Args:
            pull_back: the product y -> J^T y, (B, ...) to (B, ...).
            grad: (B, ...) the incoming gradient g.
            observe: called with the `Solution`, if there is a solve.
            contraction: a factor < 1 by which `pull_back` contracts in the 1-norm; None if no factor is known.

        Returns:
            y (B, ...).
        """

    def equilibrium(
        self, cell: Cell, injected: Tensor, *, forward: ForwardSolve, observe: Observer, contraction: float | None
    ) -> Solution:
        with torch.no_grad():
            solution = forward(partial(cell.step, injected=injected), cell.start(injected))
        z: Tensor = _Adjoint.apply(injected, cell.W, solution.z, cell, self, observe, contraction)
        return replace(solution, z=z)


@dataclass(frozen=True, kw_only=True)
class Implicit(AdjointGradient):
    """The gradient of the implicit function theorem, solved in the 1-norm, in which J^T contracts.

    Args:
        solver: the solver of the backward solve.
        tolerance: largest relative residual of the backward solve.
        max_steps: evaluation limit; None takes `evaluations_allowed` for the layer's bound and this tolerance.
        check_every: steps between two checks whether all samples are done (see `solvers.solve`).

    Raises:
        ValueError: a setting is out of range.
    """

    solver: Solver[Any] = _PICARD
    tolerance: float = 1e-5
    max_steps: int | None = None
    check_every: int | None = None

    def __post_init__(self) -> None:
        check_settings(tolerance=self.tolerance, max_steps=self.max_steps, check_every=self.check_every)

    def steps_allowed(self, contraction: float | None) -> int:
        """The limit of backward evaluations: `max_steps`, or the default for this contraction factor."""
        allowed = evaluations_allowed(contraction, self.tolerance, accelerated=self.solver.is_accelerated)
        return self.max_steps or allowed

    def adjoint(
        self, pull_back: FixedPointMap, grad: Tensor, observe: Observer, *, contraction: float | None = None
    ) -> Tensor:
        """y (B, ...) within the tolerance. See `AdjointGradient.adjoint`."""
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
    """y = g: the gradient of the last step only ("Jacobian-free backpropagation", Fung et al., AAAI 2022).

    There is no backward solve. The relative error of y is at most gamma / (1 - gamma) in the 1-norm.
    """

    def adjoint(
        self, pull_back: FixedPointMap, grad: Tensor, observe: Observer, *, contraction: float | None = None
    ) -> Tensor:
        return grad


@dataclass(frozen=True, kw_only=True)
class Neumann(AdjointGradient):
    """y = g + J^T g + ... + (J^T)^k g, with `k` >= 1 products (Geng et al., "On training implicit models", 2021)."""

    k: int

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}: give at least 1 product, or use OneStep()")

    def adjoint(
        self, pull_back: FixedPointMap, grad: Tensor, observe: Observer, *, contraction: float | None = None
    ) -> Tensor:
        """The sum (B, ...) of the first k + 1 terms. See `AdjointGradient.adjoint`."""
        previous = y = grad
        for _ in range(self.k):
            previous, y = y, pull_back(y).add_(grad)
        _, residual = distance_and_residual(previous, y, sum_norm)
        steps = torch.full_like(residual, self.k, dtype=torch.int64)
        done = residual.isfinite()  # the series is cut on purpose, so a large residual is no failure
        observe(Solution(z=y, residual=residual, num_steps=steps, converged=done, fallback=torch.zeros_like(steps)))
        return y


class _Adjoint(torch.autograd.Function):
    """The identity on z*. Backward replaces the incoming gradient g by y and passes it to `injected` and W.

    The weight is saved for backward, so autograd raises if it is changed in place between forward and backward.
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
        """Solve for y and pass it on."""
        (weight, z_star), (cell, gradient, observe, contraction) = ctx.saved_tensors, ctx.how
        with exact_products(grad.device):
            slope = cell.slope(z_star)
            grad = torch.empty_like(z_star).copy_(grad)  # in the memory layout of the states
            y = gradient.adjoint(lambda y: cell.pull_back(weight, slope * y), grad, observe, contraction=contraction)
            y = slope * y
            weight_gradient = cell.weight_gradient(z_star, y) if ctx.needs_input_grad[1] else None
        return y, weight_gradient, None, None, None, None, None
