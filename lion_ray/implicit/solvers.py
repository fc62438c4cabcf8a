"""The interface of solvers, and the one loop `solve` that runs all of them.

A solver is a frozen value and its state is immutable. It proposes the next iterate and never decides when to stop.
Samples are independent: a mask freezes a finished sample, and the batch never shrinks. At equal batch size a sample's
result therefore has the same bits whatever the other samples are. `layer` runs `solve` forward, `gradients` backward.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from lion_ray.implicit.norms import Norm, distance_and_residual, max_norm
from lion_ray.implicit.solution import Solution

State = TypeVar("State")
FixedPointMap: TypeAlias = Callable[[Tensor], Tensor]
CHECK_EVERY = 4  # steps between two device synchronisations; most solves need 4 to 6 steps


@dataclass(frozen=True, kw_only=True)
class SolverStep(Generic[State]):
    """One step of a solver.

    Attributes:
        z: (B, ...) the next iterate.
        state: the solver's next state.
        fallback: (B,) bool, samples with a fallback step; None stands for none.
    """

    z: Tensor
    state: State
    fallback: Tensor | None = None


class Solver(ABC, Generic[State]):
    """An update rule for z = f(z). Subclasses are frozen dataclasses."""

    is_accelerated = True
    """Whether iterates are other points than values of f, so that an evaluation may be worse than the one before."""

    @abstractmethod
    def init(self, z0: Tensor, *, contraction: float | None = None) -> State:
        """The state before the first evaluation.

        Args:
            z0: (B, ...) the starting point.
            contraction: the factor < 1 by which f contracts; None if no factor is known.
        """

    @abstractmethod
    def step(self, state: State, *, z: Tensor, value: Tensor, distance: Tensor) -> SolverStep[State]:
        """Propose the next iterate.

        Args:
            state: the state after the step before.
            z: (B, ...) the evaluated iterate.
            value: (B, ...) f(z).
            distance: (B,) the norm of `value - z`.
        """


def solve(
    f: FixedPointMap,
    z0: Tensor,
    *,
    solver: Solver[Any],
    tolerance: float,
    max_steps: int,
    norm: Norm = max_norm,
    contraction: float | None = None,
    check_every: int | None = None,
) -> Solution:
    """Find z = f(z) for each of B samples. A sample stops when its residual is within `tolerance` or not finite.

    Args:
        f: the map, (B, ...) to (B, ...).
        z0: (B, ...) the starting point.
        solver: the update rule.
        tolerance: largest relative residual.
        max_steps: largest number of evaluations of f.
        norm: the norm of a sample, (B, ...) to (B,).
        contraction: a factor < 1 by which f contracts in `norm`; None if no factor is known.
        check_every: steps between two checks whether all samples have stopped. None checks at each step on the CPU and
            every `CHECK_EVERY` steps on other devices, where a check waits for the device. Finished samples are frozen
            at every step, so results do not depend on it.

    Raises:
        ValueError: a setting is out of range.
    """
    check_settings(tolerance=tolerance, max_steps=max_steps, check_every=check_every)
    every = check_every or (1 if z0.device.type == "cpu" else CHECK_EVERY)
    z, state = z0, solver.init(z0, contraction=contraction)
    results = _SolveRecord(z0, tolerance, keeps_best=solver.is_accelerated)
    returns_z = solver.is_accelerated and contraction is None  # f(z) may be further from the equilibrium than z
    for step in range(1, max_steps + 1):
        value = f(z)
        with torch.no_grad():
            distance, residual = distance_and_residual(z, value, norm)
        results.take(z if returns_z else value, residual)
        if step == max_steps or (step % every == 0 and results.all_stopped()):
            break
        advance = solver.step(state, z=z, value=value, distance=distance)
        z, state = advance.z, advance.state
        results.count_fallback(advance.fallback)
    return results.solution()


def check_settings(*, tolerance: float, max_steps: int | None, check_every: int | None = None) -> None:
    """Raise a ValueError that names the first setting of a solve that is out of range.

    Args:
        tolerance: finite and above 0.
        max_steps: at least 1; None is allowed.
        check_every: at least 1; None is allowed.
    """
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance is {tolerance}: give a finite number above 0, such as 1e-4")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}: at least 1 evaluation is needed")
    if check_every is not None and check_every < 1:
        raise ValueError(f"check_every is {check_every}: give 1 or more steps")


class _SolveRecord:
    """The results of the loop so far. Active samples take each new value, or each that is no worse; others keep theirs.

    While all samples are known to be active no mask is applied, and the step count is a number instead of a tensor.
    """

    def __init__(self, z0: Tensor, tolerance: float, *, keeps_best: bool) -> None:
        self.z, self.keeps_best = z0, keeps_best
        self.tolerance = z0.new_full((), tolerance)  # comparing with a tensor costs a third of comparing with a float
        self.residual = z0.new_full((len(z0),), math.inf)
        self.num_steps: Tensor | int = 0
        self.fallback: Tensor | None = None
        self.active: Tensor | None = None  # None stands for all

    def take(self, z: Tensor, residual: Tensor) -> None:
        """Add an evaluation. Samples within the tolerance and samples with a NaN residual stop."""
        continues = residual > self.tolerance
        if self.active is None and not self.keeps_best:
            self.z, self.residual, self.num_steps = z, residual, self.num_steps + 1
            self.active = continues
            return
        active = torch.ones_like(continues) if self.active is None else self.active
        taken = active & ~(residual > self.residual) if self.keeps_best else active  # a NaN residual is taken too
        self.z = torch.where(per_sample(taken, z), z, self.z)
        self.residual = torch.where(taken, residual, self.residual)
        self.num_steps = self.num_steps + active.long()
        self.active = active & continues

    def all_stopped(self) -> bool:
        """Whether all samples have stopped. Synchronises with the device."""
        num_active = len(self.z) if self.active is None else int(torch.count_nonzero(self.active))
        if num_active == len(self.z) and isinstance(self.num_steps, int):
            self.active = None
        return num_active == 0

    def count_fallback(self, fallback: Tensor | None) -> None:
        """Count the fallback step of each active sample that took one; `fallback` is (B,) bool or None."""
        if fallback is not None:
            taken = (fallback if self.active is None else fallback & self.active).long()
            self.fallback = taken if self.fallback is None else self.fallback + taken

    def solution(self) -> Solution:
        """The result so far."""
        zeros = torch.zeros(len(self.z), dtype=torch.int64, device=self.z.device)
        return Solution(
            z=self.z,
            residual=self.residual,
            num_steps=zeros + self.num_steps,
            converged=self.residual <= self.tolerance,
            fallback=zeros if self.fallback is None else self.fallback,
        )


def per_sample(x: Tensor, like: Tensor) -> Tensor:
    """View `x` (B,) so that it broadcasts over the samples of `like` (B, ...)."""
    return x.reshape(-1, *[1] * (like.dim() - 1))
