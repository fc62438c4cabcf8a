"""The driver's view of the trials' events: progress for people, failures for the end. A thread of `sweep` runs it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import ray

from lion_ray import job
from lion_ray.sweep.events import (
    EpochDone,
    Event,
    ExperimentFailed,
    ExperimentStopped,
    FinalRunsAdmitted,
    StorageOutage,
    SweepFailed,
    Warned,
)
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
            match event:
                case EpochDone():
                    progress.show(event)
                case ExperimentStopped():
                    progress.show_stop(event.experiment, event.how)
                case ExperimentFailed():
                    failures[event.experiment] = event.reason
                    on_failure(failures)
                case FinalRunsAdmitted():
                    progress.admit(unwrap(event.wrapped_runs), event.stand_ins)
                case SweepFailed():
                    fatal.append(event.error)
                case StorageOutage():
                    progress.show_outage(event.line)
                case Warned():
                    progress.show_warning(event.line)
        if last:
            progress.finish()
            return
        over.wait(POLL_SECONDS)


def _take(mailbox: Any) -> list[Event]:
    """All new events. The mailbox is on the driver's node: without it the sweep could only wait until Ray gives up."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            events: list[Event] = ray.get(mailbox.take.remote())
            return events
        except ray.exceptions.RayActorError as error:
            is_lost = not isinstance(error, ray.exceptions.ActorUnavailableError) or time.monotonic() > deadline
        if is_lost:
            job.end_at_once(LOST, status=1)
        time.sleep(POLL_SECONDS)
