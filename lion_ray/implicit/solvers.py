"""One loop, `solve`, drives every solver through init / step / terminate.

A solver is a frozen value with pure state; it proposes the next iterate and never decides when to stop.
Samples are independent: a finished one is frozen by a mask and the batch never shrinks, so at equal batch size a
sample's result is bit-identical whatever its neighbours are or do. Called by `layer` forward, `gradients` backward.
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
ASKED_EVERY = 4  # steps: most solves need 4 to 6


@dataclass(frozen=True, kw_only=True)
class Advance(Generic[State]):
    """The next iterate (B, ...), the solver's next state, and which samples (B,) bool took a fallback step, if any."""

    z: Tensor
    state: State
    fallback: Tensor | None = None


class Solver(ABC, Generic[State]):
    """An update rule for z = f(z); leaves are frozen values."""

    is_accelerated = True
    """Whether it tries points that f did not give, so that an evaluation may be worse than the one before."""

    @abstractmethod
    def init(self, z0: Tensor, *, contraction: float | None = None) -> State:
        """State before the first evaluation; f contracts by `contraction` < 1, or nothing is known of it (None)."""

    @abstractmethod
    def step(self, state: State, *, z: Tensor, value: Tensor, distance: Tensor) -> Advance[State]:
        """Propose the next iterate from f(z) = `value` and the norm (B,) of `value - z`."""


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
    """Find z = f(z) for each sample of `z0` (B, ...) with at most `max_steps` evaluations of f.

    A sample stops when its residual is within `tolerance`, or is not finite. `contraction` < 1 is a bound by which f
    contracts in `norm`; without one an accelerated solver takes nothing for granted. `check_every` says how often the
    host asks whether all have stopped, by default at each step on the CPU and every `ASKED_EVERY` steps elsewhere,
    where it waits for each answer; samples are frozen at every step, so results do not depend on it. Raises ValueError
    for a setting out of range.
    """
    check_settings(tolerance=tolerance, max_steps=max_steps, check_every=check_every)
    every = check_every or (1 if z0.device.type == "cpu" else ASKED_EVERY)
    z, state = z0, solver.init(z0, contraction=contraction)
    record = _Record(z0, tolerance, keeps_best=solver.is_accelerated)
    returns_z = solver.is_accelerated and contraction is None  # f(z) may be further from the equilibrium than z
    for step in range(1, max_steps + 1):
        value = f(z)
        with torch.no_grad():
            distance, residual = distance_and_residual(z, value, norm)
        record.take(z if returns_z else value, residual)
        if step == max_steps or (step % every == 0 and record.is_over()):
            break
        advance = solver.step(state, z=z, value=value, distance=distance)
        z, state = advance.z, advance.state
        record.count_fallback(advance.fallback)
    return record.solution()


def check_settings(*, tolerance: float, max_steps: int | None, check_every: int | None = None) -> None:
    """Raise ValueError naming the first setting of a solve that is out of range."""
    if not (math.isfinite(tolerance) and tolerance > 0):
        raise ValueError(f"tolerance is {tolerance}: give a finite number above 0, such as 1e-4")
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}: at least 1 evaluation is needed")
    if check_every is not None and check_every < 1:
        raise ValueError(f"check_every is {check_every}: give 1 or more steps")


class _Record:
    """What the loop has reached: active samples get each new value, or each that is no worse, the others keep theirs.

    While the host knows that all are active no mask is applied; counting is then a number, not a tensor.
    """

    def __init__(self, z0: Tensor, tolerance: float, *, keeps_best: bool) -> None:
        self.z, self.keeps_best = z0, keeps_best
        self.tolerance = z0.new_full((), tolerance)  # comparing with a tensor costs a third of comparing with a float
        self.residual = z0.new_full((len(z0),), math.inf)
        self.num_steps: Tensor | int = 0
        self.fallback: Tensor | None = None
        self.active: Tensor | None = None  # None: all

    def take(self, z: Tensor, residual: Tensor) -> None:
        """One more evaluation; a sample within tolerance, and one that is NaN and can never be, goes no further."""
        hopeful = residual > self.tolerance
        if self.active is None and not self.keeps_best:
            self.z, self.residual, self.num_steps = z, residual, self.num_steps + 1
            self.active = hopeful
            return
        active = torch.ones_like(hopeful) if self.active is None else self.active
        taken = active & ~(residual > self.residual) if self.keeps_best else active  # one that is NaN is taken
        self.z = torch.where(per_sample(taken, z), z, self.z)
        self.residual = torch.where(taken, residual, self.residual)
        self.num_steps = self.num_steps + active.long()
        self.active = active & hopeful

    def is_over(self) -> bool:
        """Whether all samples have stopped: a device sync."""
        num_active = len(self.z) if self.active is None else int(torch.count_nonzero(self.active))
        if num_active == len(self.z) and isinstance(self.num_steps, int):
            self.active = None
        return num_active == 0

    def count_fallback(self, fallback: Tensor | None) -> None:
        """Which active samples took a fallback step."""
        if fallback is not None:
            taken = (fallback if self.active is None else fallback & self.active).long()
            self.fallback = taken if self.fallback is None else self.fallback + taken

    def solution(self) -> Solution:
        """The answer so far."""
        zeros = torch.zeros(len(self.z), dtype=torch.int64, device=self.z.device)
        return Solution(
            z=self.z,
            residual=self.residual,
            num_steps=zeros + self.num_steps,
            converged=self.residual <= self.tolerance,
            fallback=zeros if self.fallback is None else self.fallback,
        )


def per_sample(x: Tensor, like: Tensor) -> Tensor:
    """View (B,) so that it broadcasts over the samples of `like` (B, ...)."""
    return x.reshape(-1, *[1] * (like.dim() - 1))
