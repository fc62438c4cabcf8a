"""The driver's view of the trials' events: progress for people, failures for the end. A thread of `sweep` runs it."""

from __future__ import annotations

import threading
from typing import Any

import ray

from lion_ray.progress import Progress

POLL_SECONDS = 0.25


def watch(
    board: Any, progress: Progress, failures: dict[str, str], fatal: list[Exception], over: threading.Event
) -> None:
    """Show events until the sweep is over and the board is empty; what has to end the sweep goes to `fatal`."""
    while True:
        last = over.is_set()
        for event in ray.get(board.take.remote()):
            if "failed" in event:
                failures[event["failed"]] = event["reason"]
            elif "fatal" in event:
                fatal.append(event["fatal"])
            elif "outage" in event:
                progress.show_outage(event["outage"])
            elif "stopped" in event:
                progress.show_stop(event)
            else:
                progress.show(event)
        if last:
            progress.finish()
            return
        over.wait(POLL_SECONDS)
