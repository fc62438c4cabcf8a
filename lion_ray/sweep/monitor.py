"""The driver's view of the trials' events: progress for people, failures for the end. A thread of `sweep` runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

from lion_ray import job
from lion_ray.sweep.mailbox import unwrap
from lion_ray.sweep.progress import Progress

POLL_SECONDS = 0.25
PATIENCE_SECONDS = 10.0
LOST = "Ray is gone from the driver's node: the same command goes on where this one ended"


def watch(
    mailbox: Any,
    progress: Progress,
    failures: dict[str, str],
    fatal: list[Exception],
    over: threading.Event,
    on_failure: Callable[[Mapping[str, str]], None],
) -> None:
    """Show events until the sweep is over and the mailbox is empty; what has to end the sweep goes to `fatal`.

    Args:
        on_failure: called with all `failures` after each new one.
    """
    while True:
        last = over.is_set()
        for event in _take(mailbox):
            if "failed" in event:
                failures[event["failed"]] = event["reason"]
                on_failure(failures)
            elif "fatal" in event:
                fatal.append(event["fatal"])
            elif "outage" in event:
                progress.show_outage(event["outage"])
            elif "warning" in event:
                progress.show_warning(event["warning"])
            elif "stopped" in event:
                progress.show_stop(event)
            elif "admitted" in event:
                progress.admit({**event, "admitted": unwrap(event["admitted"])})
            else:
                progress.show(event)
        if last:
            progress.finish()
            return
        over.wait(POLL_SECONDS)


def _take(mailbox: Any) -> list[dict[str, Any]]:
    """All new events. The mailbox is on the driver's node: without it the sweep could only wait until Ray gives up."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            events: list[dict[str, Any]] = ray.get(mailbox.take.remote())
            return events
        except ray.exceptions.RayActorError as error:
            is_lost = not isinstance(error, ray.exceptions.ActorUnavailableError) or time.monotonic() > deadline
        if is_lost:
            job.end_at_once(LOST, status=1)
        time.sleep(POLL_SECONDS)
