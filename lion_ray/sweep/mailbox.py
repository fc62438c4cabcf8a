"""Where trials, wherever they run, leave events for the driver and find the work that it has put there for each.

What is handed is wrapped in references, so that nothing heavy is imported: its process starts fast and stays small.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lion_ray.sweep.events import Event


class Mailbox:
    """Events in the order of their arrival."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._work: dict[str, list[Any]] = {}

    def put(self, event: Event) -> None:
        """Leave one event."""
        self._events.append(event)

    def take(self) -> list[Event]:
        """All events since the last call."""
        events, self._events = self._events, []
        return events

    def hand(self, name: str, wrapped: list[Any]) -> None:
        """Put down what the trial of the experiment `name` is to do; it stays, for a trial that has to start again."""
        self._work[name] = wrapped

    def work(self, name: str) -> list[Any]:
        """What was put down."""
        return self._work[name]


def start_mailbox() -> Any:
    """A mailbox on the driver's own node: one on a spot node would take the sweep with it."""
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0)(Mailbox).options(scheduling_strategy=here).remote()


def end(mailbox: Any) -> None:
    """Ray itself would keep its process until every handle is gone, and some stay in caches of Ray's."""
    ray.kill(mailbox)


def wrap(value: Any) -> list[Any]:
    """`value` in the driver's part of the object store; only a reference to it passes through the mailbox."""
    return [ray.put(value)]


def unwrap(wrapped: list[Any]) -> Any:
    """The value itself, in the process that needs it."""
    return ray.get(wrapped[0])
