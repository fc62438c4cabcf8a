"""Waiting for a storage that does not answer: jittered back-off within a stated time, and a word about it.

Everything that reaches a storage goes through `persist`. It starts counting at the first fault of one operation, so an
outage at any moment that is shorter than `Patience.seconds` costs time and nothing else.
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
UNKNOWN_SECONDS = 4.0  # for a name that does not resolve, of a place that has never answered: it is misspelled
_answered: set[str] = set()
_DRAW = random.SystemRandom()  # leaves the generators alone that training draws from


@dataclasses.dataclass(frozen=True, kw_only=True)
class Patience:
    """How long an operation is repeated (seconds), the first and the longest pause, and how often it is said."""

    seconds: float = dataclasses.field(default_factory=lambda: float(os.environ.get(VARIABLE, "300")))
    first_pause: float = 0.2
    longest_pause: float = 8.0
    say_every: float = 15.0

    def pause(self, attempt: int) -> float:
        """Doubles from attempt to attempt; half of it is drawn, so that many trials do not come back at once."""
        whole = min(self.longest_pause, self.first_pause * 2.0 ** min(attempt, 30))
        return whole * _DRAW.uniform(0.5, 1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outage:
    """A storage that does not answer at the moment."""

    url: str
    reason: str
    seconds_left: float

    def __str__(self) -> str:
        return f"storage: {self.url} does not answer, retrying for {minutes(self.seconds_left)} more ({self.reason})"


OnOutage = Callable[[Outage], None]


def say(outage: Outage) -> None:
    """On stderr."""
    print(outage, file=sys.stderr, flush=True)


def persist(
    act: Callable[[], Value], url: str, *, patience: Patience | None = None, on_outage: OnOutage = say
) -> Value:
    """`act()`, repeated while what it raises passes by itself.

    Raises:
        StorageError: `act` is refused, or the patience is used up. Nothing else, whatever the storage's package raises.
    """
    patience = patience or Patience()
    began = said = None
    attempt = 0
    while True:
        try:
            result = act()
            has_answered(url)
            return result
        except Exception as fault:  # noqa: BLE001 (each is raised as one kind, or tried again)
            now = time.monotonic()
            began = now if began is None else began
            is_unknown = _place_of(url) not in _answered and is_unknown_host(fault)
            seconds = min(patience.seconds, UNKNOWN_SECONDS) if is_unknown else patience.seconds
            left, pause = began + seconds - now, patience.pause(attempt)
            if not is_transient(fault):
                raise as_storage_error(fault, url) from None  # the cause may hold the URL with its credentials
            if left <= pause:
                advice = "; is the name of its host spelled right?" if is_unknown else ""
                note = f" (gave up after {minutes(now - began)} and {attempt + 1} attempts{advice})"
                raise as_storage_error(fault, url, note) from None
            if attempt and not is_unknown and (said is None or now - said >= patience.say_every):
                said, reason = now, " ".join(f"{type(fault).__name__}: {fault}".split())
                on_outage(Outage(url=redacted(url), reason=redacted(reason), seconds_left=left))
        time.sleep(pause)
        attempt += 1


def has_answered(url: str) -> None:
    """What is at this place's name has answered, here or in the process that hands the place on."""
    _answered.add(_place_of(url))


def _place_of(url: str) -> str:
    """Its scheme and host or bucket; of a chain, all of it up to there."""
    scheme, mark, rest = url.rpartition("://")
    return f"{scheme}{mark}{rest.partition('/')[0]}" if mark else ""


def minutes(seconds: float) -> str:
    """`m:ss`."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole}:{rest:02d}"
