"""One loop, `solve`, drives every solver through init / step / terminate.

A solver is a frozen value with pure state; it proposes the next iterate and never decides when to stop.
Samples are independent: a finished one is frozen by a mask and the batch never shrinks, so at equal batch size a
sample's result is bit-identical whatever its neighbours are or do. Called by `layer` forward, `gradients` backward.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor

from lion_ray.implicit.norms import Norm, distance_and_residual, max_norm
from lion_ray.implicit.solution import Solution

State = TypeVar("State")
FixedPointMap: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Advance(Generic[State]):
    """The next iterate (B, ...), the solver's next state, and which samples (B,) bool took a fallback step, if any."""

    z: Tensor
    state: State
    fallback: Tensor | None = None


class Solver(ABC, Generic[State]):
    """An update rule for z = f(z); leaves are frozen values."""

    @abstractmethod
    def init(self, z0: Tensor) -> State:
        """State before the first evaluation."""

    @abstractmethod
    def step(self, state: State, *, z: Tensor, value: Tensor, distance: Tensor) -> Advance[State]:
        """Propose the next iterate from f(z) = `value` and the norm (B,) of `value - z`."""


@dataclass(frozen=True, kw_only=True)
class _Progress:
    solution: Solution
    active: Tensor


def solve(
    f: FixedPointMap,
    z0: Tensor,
    *,
    solver: Solver[Any],
    tolerance: float,
    max_steps: int,
    norm: Norm = max_norm,
    check_every: int = 1,
) -> Solution:
    """Find z = f(z) for each sample of `z0` (B, ...) with at most `max_steps` evaluations of f.

    A sample stops when its residual is within `tolerance`, or is not finite. `check_every` says how often the host
    asks whether all have stopped (each question is a device sync); samples are frozen at every step, so results do
    not depend on it. Raises ValueError for a setting out of range.
    """
    check_settings(tolerance=tolerance, max_steps=max_steps, check_every=check_every)
    z, state, progress, all_active = z0, solver.init(z0), _begin(z0), True
    for step in range(1, max_steps + 1):
        value = f(z)
        with torch.no_grad():
            distance, residual = distance_and_residual(z, value, norm)
        progress = _terminate(_record(progress, value, residual, all_active), tolerance)
        num_active = int(progress.active.sum()) if step % check_every == 0 else None
        if step == max_steps or num_active == 0:
            break
        all_active = num_active == len(z0)
        advance = solver.step(state, z=z, value=value, distance=distance)
        z, state, progress = advance.z, advance.state, _count_fallback(progress, advance.fallback)
    return progress.solution


def check_settings(*, tolerance: float, max_steps: int, check_every: int = 1) -> None:
    """Raise ValueError naming the first setting of a solve that is out of range."""
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance is {tolerance}: give a finite number above 0, such as 1e-4")
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}: at least 1 evaluation is needed")
    if check_every < 1:
        raise ValueError(f"check_every is {check_every}: give 1 or more steps")


def _begin(z0: Tensor) -> _Progress:
    size, device = z0.shape[0], z0.device
    count = torch.zeros(size, dtype=torch.int64, device=device)
    no = torch.zeros(size, dtype=torch.bool, device=device)
    residual = torch.full((size,), math.inf, dtype=z0.dtype, device=device)
    solution = Solution(z=z0, residual=residual, num_steps=count, converged=no, fallback=count)
    return _Progress(solution=solution, active=~no)


def _record(progress: _Progress, value: Tensor, residual: Tensor, all_active: bool) -> _Progress:
    """Give the active samples their new value; the others keep theirs. The mask is a pass that all active need not."""
    old, active = progress.solution, progress.active
    if not all_active:
        value, residual = (
            torch.where(per_sample(active, value), value, old.z),
            torch.where(active, residual, old.residual),
        )
    return replace(progress, solution=replace(old, z=value, residual=residual, num_steps=old.num_steps + active))


def _terminate(progress: _Progress, tolerance: float) -> _Progress:
    """Freeze the samples that are within tolerance, and those that can never be."""
    residual = progress.solution.residual
    converged = residual <= tolerance
    solution = replace(progress.solution, converged=converged)
    hopeful = (residual > tolerance) & (residual < math.inf)  # neither where it is NaN
    return _Progress(solution=solution, active=progress.active & hopeful)


def _count_fallback(progress: _Progress, fallback: Tensor | None) -> _Progress:
    if fallback is None:
        return progress
    old = progress.solution
    return replace(progress, solution=replace(old, fallback=old.fallback + (fallback & progress.active)))


def per_sample(x: Tensor, like: Tensor) -> Tensor:
    """View (B,) so that it broadcasts over the samples of `like` (B, ...)."""
    return x.reshape(-1, *[1] * (like.dim() - 1))
