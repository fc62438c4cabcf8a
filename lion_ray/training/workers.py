"""The processes that train one experiment together, as a value.

`SingleWorker` is one process; `ProcessGroup` in `sweep.train_workers` is the workers of a Ray Train run.

`training`, `trial` and `lottery` talk to this interface and never ask how many workers there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")


class Workers(ABC):
    """`size` workers of which this process is number `rank`; worker 0 leads and alone writes."""

    rank: int
    size: int

    @property
    def is_rank_zero(self) -> bool:
        """Whether this is worker 0."""
        return self.rank == 0

    @abstractmethod
    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """Let worker 0 alone act; every worker returns when it is done, with its result (or raises its error)."""

    @abstractmethod
    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over the workers."""

    @abstractmethod
    def gather(self, value: Value) -> list[Value]:
        """Every worker's `value`, by rank."""

    def on_every_rank(self, act: Callable[[], Value]) -> Value:
        """Let every worker act by itself; where any fails, all raise the error of the first, so that nobody waits."""
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
        """`module` with its gradients averaged over the workers in every backward pass."""


class SingleWorker(Workers):
    """One process."""

    rank = 0
    size = 1

    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """Act."""
        return act()

    def sum(self, values: Tensor) -> Tensor:
        """`values`."""
        return values

    def gather(self, value: Value) -> list[Value]:
        """`value` alone."""
        return [value]

    def wrap(self, module: nn.Module) -> nn.Module:
        """`module`."""
        return module
