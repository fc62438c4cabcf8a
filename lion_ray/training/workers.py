"""The interface to the processes that train one experiment together.

`SingleWorker` is one process, and `ProcessGroup` in `lion_ray.sweep.train_workers` is the worker group of a Ray Train
run. `lion_ray.training` and `lion_ray.trial` use this interface, so their code is the same for any number of workers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")


class Workers(ABC):
    """A group of `size` workers. This process has the number `rank`, from 0; only rank 0 writes files."""

    rank: int
    size: int

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process has rank 0."""
        return self.rank == 0

    @abstractmethod
    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """Call `act` on rank 0 only. Every worker waits for it and returns its result or raises its error."""

    @abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over the workers, of the same shape."""

    @abstractmethod
    def gather(self, value: Value) -> list[Value]:
        """The values of all workers, in the order of their ranks."""

    def on_every_rank(self, act: Callable[[], Value]) -> Value:
        """Call `act` on every worker and return its result there.

        If it fails on any worker, all workers raise the error of the lowest rank, so that none waits for another.
        """
        outcome: list[Value] = []
        error: Exception | None = None
        try:
            outcome.append(act())
        except Exception as raised:  # noqa: BLE001 (raised below, on every worker)
            error = raised
        first = next((each for each in self.gather(error) if each is not None), None)
        if first is not None:
            raise first
        return outcome[0]

    @abstractmethod
    def wrap(self, module: nn.Module) -> nn.Module:
        """Wrap `module` so that every backward pass averages its gradients over the workers."""


class SingleWorker(Workers):
    """A group of one worker: this process."""

    rank = 0
    size = 1

    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """Call `act`."""
        return act()

    def sum(self, values: Tensor) -> Tensor:
        """Return `values`."""
        return values

    def gather(self, value: Value) -> list[Value]:
        """Return a list of `value` alone."""
        return [value]

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return `module`."""
        return module
