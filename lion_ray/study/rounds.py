"""One experiment's finished rounds, read back from its artifacts with every digest verified."""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from lion_ray.experiments import is_current
from lion_ray.lottery import WINNING
from lion_ray.store import DamagedArtifactWarning, ListedFile, Store, digest, layout, map_in_threads
from lion_ray.study.record import RoundRecord, read_record

Files = Mapping[str, ListedFile]
Record = TypeVar("Record")


class OtherRevisionWarning(UserWarning):
    """Stored rounds are left out: other code trained them, which gave other results for the same settings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundRounds:
    """What the store holds of one experiment.

    `rounds` are the records of rounds 0, 1, ... up to the first that is absent or damaged, `controls` those beside any
    round. `listing` is the fingerprint of what a listing of its folder, of `num_files`, said before they were verified.
    """

    rounds: tuple[RoundRecord, ...] = ()
    controls: tuple[RoundRecord, ...] = ()
    has_start: bool = False
    num_files: int = 0
    listing: str = ""

    def controls_of(self, rounds: Sequence[RoundRecord], names: Sequence[str]) -> list[RoundRecord]:
        """The controls called `names` beside the pruned ones of `rounds`, as far as they are there."""
        by_place = {(row.round, row.ticket): row for row in self.controls}
        places = [(row.round, name) for row in rounds[1:] for name in names]
        return [by_place[place] for place in places if place in by_place]


def fingerprint(files: Files) -> str:
    """One short text for names, sizes and stamps; empty if there are no files."""
    return digest(json.dumps(sorted(files.items())).encode()) if files else ""


def read_found(store: Store, experiment_name: str, files: Files) -> FoundRounds:
    """Read everything that is committed in an experiment's folder; what is damaged is absent, with a warning."""
    tail = f"/{layout.DONE}"
    keys = [path.removesuffix(tail) for path in files if path.endswith(tail)]
    loaded = dict(zip(keys, map_in_threads(lambda key: _load(store, key), keys), strict=True))
    has_start = loaded.pop(layout.start(experiment_name), None) is not None
    records = {key: _record(store, key, *files) for key, files in loaded.items() if files is not None}
    rounds: list[RoundRecord] = []
    while (record := records.pop(layout.round_of(experiment_name, len(rounds)), None)) is not None:
        rounds.append(record)
    controls = tuple(record for record in records.values() if record is not None and record.ticket != WINNING)
    return FoundRounds(
        rounds=tuple(rounds), controls=controls, has_start=has_start, num_files=len(files), listing=fingerprint(files)
    )


def _load(store: Store, key: str) -> tuple[bytes | None, bytes | None] | None:
    """`result.json` of a round, None of a start, and its `clock.json`; None if its digests do not hold."""
    found = store.load(key)
    if found is None:
        return None
    return found.get(layout.RESULT), store.read(f"{key}/{layout.CLOCK}") if layout.RESULT in found else None


def _record(store: Store, key: str, result: bytes | None, clock: bytes | None) -> RoundRecord | None:
    """The record of a round, with its times; None if no round lies there, or what it says of itself is damaged."""
    record = None if result is None else record_of(store, key, result)
    if record is None:
        return None
    seconds, finished = _times(clock)
    return dataclasses.replace(record, seconds=seconds, finished=finished)


def record_of(store: Store, key: str, payload: bytes) -> RoundRecord | None:
    """The record in `result.json` of the round `key`; None, with a warning, if it is none."""
    try:
        return read_record(payload)
    except ValueError as damage:
        warnings.warn(f"{store.url}/{key} counts as absent: {damage}", DamagedArtifactWarning, stacklevel=2)
        return None


def _times(clock: bytes | None) -> tuple[float | None, float | None]:
    """How many seconds the round took, and when it ended (seconds of the epoch); None if its clock is lost."""
    try:
        fields = json.loads(clock or b"")
        return float(fields["seconds"]), float(fields["finished"])
    except (ValueError, KeyError, TypeError):
        return None, None


def of_today(records: Iterable[Record], url: str, *, config_of: Callable[[Record], Mapping[str, Any]]) -> list[Record]:
    """The records that today's code would give; a warning counts the others.

    Args:
        url: the study's, for the warning.
        config_of: the configuration that a record holds.
    """
    found = list(records)
    current = [record for record in found if is_current(config_of(record))]
    if len(current) < len(found):
        text = (
            f"{url}: {len(found) - len(current)} of {len(found)} finished rounds are left out: a version of lion_ray "
            "trained them that gives other results for the same settings; run the study again for today's"
        )
        warnings.warn(text, OtherRevisionWarning, stacklevel=3)
    return current


def val_accuracies(rounds: Sequence[RoundRecord]) -> list[float]:
    """What every decision reads; nan of final runs, on which none is made."""
    found = [record.metrics.val_accuracy for record in rounds]
    return [math.nan if accuracy is None else accuracy for accuracy in found]
