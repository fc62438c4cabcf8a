"""One experiment's finished rounds, read from its artifacts with every digest verified.

`lion_ray.study.index` reads through here and keeps the result; `lion_ray.study.plan`, `lion_ray.report` and
`lion_ray.schedule.stopping` use the small helpers on records.
"""

from __future__ import annotations

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from lion_ray.experiments import is_current
from lion_ray.lottery import WINNING
from lion_ray.store import DamagedArtifactWarning, ListedFile, Store, digest, layout, map_in_threads
from lion_ray.study.record import RoundRecord, read_record

Files = Mapping[str, ListedFile]
Record = TypeVar("Record")


class OtherRevisionWarning(UserWarning):
    """Stored rounds are left out, because the code that trained them gave other results for the same settings."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundRounds:
    """The finished rounds of one experiment in the store.

    `rounds` holds the records of rounds 0, 1, ... up to the first that is absent or damaged, and `controls` those of
    the controls beside any round. `has_start` says whether the tensors to rewind to are there. `listing` is the
    fingerprint of a listing of the experiment's folder, with `num_files` files, taken before the rounds were verified.
    """

    rounds: tuple[RoundRecord, ...] = ()
    controls: tuple[RoundRecord, ...] = ()
    has_start: bool = False
    num_files: int = 0
    listing: str = ""

    def controls_of(self, rounds: Sequence[RoundRecord], names: Sequence[str]) -> list[RoundRecord]:
        """The finished controls beside pruned rounds, by round and then in the order of `names`.

        Args:
            rounds: the records of rounds 0, 1, ...; round 0 is not pruned and has no controls.
            names: the controls that the study asks for, such as `random_ticket`.
        """
        by_place = {(row.round, row.ticket): row for row in self.controls}
        places = [(row.round, name) for row in rounds[1:] for name in names]
        return [by_place[place] for place in places if place in by_place]


def fingerprint(files: Files) -> str:
    """A SHA-256 of the files' names, sizes and stamps. It is empty if there are no files."""
    return digest(json.dumps(sorted(files.items())).encode()) if files else ""


def read_found(store: Store, experiment_name: str, files: Files) -> FoundRounds:
    """Read and verify every artifact of an experiment. A damaged one counts as absent, with a warning.

    Args:
        store: the study's store.
        experiment_name: the experiment's name.
        files: a listing of the experiment's folder, by path relative to the store's root.
    """
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
    """The bytes of `result.json` and `clock.json`; None for each that is absent, as in the artifact of a start.

    The whole is None if the digests do not hold.
    """
    payloads = store.load(key)
    if payloads is None:
        return None
    return payloads.get(layout.RESULT), store.read(f"{key}/{layout.CLOCK}") if layout.RESULT in payloads else None


def _record(store: Store, key: str, result: bytes | None, clock: bytes | None) -> RoundRecord | None:
    """The record of a round with its times. It is None if the artifact is no round, or its record is damaged."""
    record = None if result is None else record_of(store, key, result)
    if record is None:
        return None
    seconds, finished = _times(clock)
    return dataclasses.replace(record, seconds=seconds, finished=finished)


def record_of(store: Store, key: str, payload: bytes) -> RoundRecord | None:
    """The record in a round's `result.json`.

    Args:
        store: the study's store, which the warning names.
        key: the round's artifact.
        payload: the bytes of `result.json`.

    Returns:
        The record; None, with a warning, if the bytes are no record.
    """
    try:
        return read_record(payload)
    except ValueError as damage:
        warnings.warn(f"{store.url}/{key} counts as absent: {damage}", DamagedArtifactWarning, stacklevel=2)
        return None


def _times(clock: bytes | None) -> tuple[float | None, float | None]:
    """The round's wall time in seconds and its end in seconds since 1970; None if its clock is lost or damaged."""
    try:
        fields = json.loads(clock or b"")
        return float(fields["seconds"]), float(fields["finished"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, None


def of_today(
    records: Iterable[Record], url: str, *, config_of: Callable[[Record], Mapping[str, object]]
) -> list[Record]:
    """The records whose results today's code would repeat; a warning counts the others.

    Args:
        records: records of finished rounds, of any type.
        url: the study's URL, which the warning names.
        config_of: returns the experiment's configuration that a record holds.
    """
    listed = list(records)
    current = [record for record in listed if is_current(config_of(record))]
    if len(current) < len(listed):
        text = (
            f"{url}: {len(listed) - len(current)} of {len(listed)} finished rounds are left out: a version of lion_ray "
            "trained them that gives other results for the same settings; run the study again for today's"
        )
        warnings.warn(text, OtherRevisionWarning, stacklevel=3)
    return current


def val_accuracies(rounds: Sequence[RoundRecord]) -> list[float]:
    """The last-epoch validation accuracy, 0 to 1, of each round, which all stopping decisions read.

    It is nan for final runs that have no validation split; no decision is made on them.
    """
    accuracies = [record.metrics.val_accuracy for record in rounds]
    return [math.nan if accuracy is None else accuracy for accuracy in accuracies]
