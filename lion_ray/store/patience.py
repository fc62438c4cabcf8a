"""Retries for a storage that does not answer: jittered exponential back-off within a time limit, with a message.

Every operation on a storage goes through `retry`. The time limit counts from the first fault of one operation, so an
outage that is shorter than `Patience.seconds` costs only time. `lion_ray.store.urls`, `lion_ray.store.artifacts` and
`lion_ray.store.remote_file` call it.
"""

from __future__ import annotations

import dataclasses
import os
import random
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from lion_ray.store.faults import as_storage_error, is_transient, is_unknown_host
from lion_ray.store.redaction import redacted

Value = TypeVar("Value")
VARIABLE = "LION_RAY_STORAGE_PATIENCE"
UNKNOWN_SECONDS = 4.0  # for a host that does not resolve and never answered: it is probably misspelled
_answered: set[str] = set()
_DRAW = random.SystemRandom()  # does not advance the generators that training draws from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patience:
    """How long and how often a failing operation is retried.

    Attributes:
        seconds: time limit from an operation's first fault; the variable `LION_RAY_STORAGE_PATIENCE` sets the default.
        first_pause: seconds before the second attempt.
        longest_pause: upper limit of the pause between two attempts, in seconds.
        report_every: seconds between two messages about the same outage.
    """

    seconds: float = dataclasses.field(default_factory=lambda: float(os.environ.get(VARIABLE, "300")))
    first_pause: float = 0.2
    longest_pause: float = 8.0
    report_every: float = 15.0

    def pause(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt`, which counts from 0.

        The pause doubles with each attempt. Half of it is random, so that many trials do not retry at the same moment.
        """
        whole = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt, 30))
        return whole * _DRAW.uniform(0.5, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outage:
    """A storage that does not answer at the moment: its URL, the error, and the seconds until the retries end.

    URL and reason hold no credentials.
    """

    url: str
    reason: str
    seconds_left: float

    def __str__(self) -> str:
        return f"storage: {self.url} does not answer, retrying for {minutes(self.seconds_left)} more ({self.reason})"


OnOutage = Callable[[Outage], None]


def print_outage(outage: Outage) -> None:
    """Print a message about the outage to stderr."""
    print(outage, file=sys.stderr, flush=True)


def retry(
    act: Callable[[], Value], url: str, *, patience: Patience | None = None, on_outage: OnOutage = print_outage
) -> Value:
    """Call `act` and return its value; repeat the call while it raises transient faults.

    Args:
        act: the operation; it is safe to repeat.
        url: the URL that the operation is about, for messages.
        patience: time limit and pauses; None stands for the defaults.
        on_outage: called with an `Outage` from the second fault on, at most once per `patience.report_every` seconds.

    Raises:
        StorageError: the fault is not transient, or the time limit is reached. Errors of the storage's own package
            are never raised.
    """
    patience = patience or Patience()
    began = reported = None
    attempt = 0
    while True:
        try:
            result = act()
            has_answered(url)
            return result
        except Exception as fault:  # noqa: BLE001 (each fault is raised as a StorageError, or the call is repeated)
            now = time.monotonic()
            began = now if began is None else began
            is_unknown = _place_of(url) not in _answered and is_unknown_host(fault)
            seconds = min(patience.seconds, UNKNOWN_SECONDS) if is_unknown else patience.seconds
            left, pause = began + seconds - now, patience.pause(attempt)
            if not is_transient(fault):
                raise as_storage_error(fault, url) from None  # no cause: it may hold the URL with its credentials
            if left <= pause:
                advice = "; is the name of its host spelled right?" if is_unknown else ""
                note = f" (gave up after {minutes(now - began)} and {attempt + 1} attempts{advice})"
                raise as_storage_error(fault, url, note) from None
            if attempt and not is_unknown and (reported is None or now - reported >= patience.report_every):
                reported, reason = now, " ".join(f"{type(fault).__name__}: {fault}".split())
                on_outage(Outage(url=redacted(url), reason=redacted(reason), seconds_left=left))
        time.sleep(pause)
        attempt += 1


def has_answered(url: str) -> None:
    """Remember that the host or bucket of `url` exists.

    It has answered this process, or the process that passed the store on. Its name is therefore not misspelled, and a
    name that does not resolve is retried for the full time limit.
    """
    _answered.add(_place_of(url))


def _place_of(url: str) -> str:
    """The scheme and the host or bucket of `url`. Of a chained URL it is all text up to the last host."""
    scheme, mark, rest = url.rpartition("://")
    return f"{scheme}{mark}{rest.partition('/')[0]}" if mark else ""


def minutes(seconds: float) -> str:
    """Format seconds as `m:ss`."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d}"
