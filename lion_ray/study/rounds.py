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
from lion_ray.store import DONE, DamagedArtifactWarning, ListedFile, Store, digest, map_in_threads
from lion_ray.study.record import Row, read_record

FOLDER, CLOCK = "experiments", "clock.json"
NUM_PARAMS = ("num_params", "num_params_without_classifier")
WITHOUT_PROMPTS = ("val_accuracy_without_prompts", "test_accuracy_without_prompts")
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

    rounds: tuple[Row, ...] = ()
    controls: tuple[Row, ...] = ()
    has_start: bool = False
    num_files: int = 0
    listing: str = ""

    def controls_of(self, rounds: Sequence[Row], names: Sequence[str]) -> list[Row]:
        """The controls called `names` beside the pruned ones of `rounds`, as far as they are there."""
        by_place = {(row["round"], row["ticket"]): row for row in self.controls}
        places = [(row["round"], name) for row in rounds[1:] for name in names]
        return [by_place[place] for place in places if place in by_place]


def fingerprint(files: Files) -> str:
    """One short text for names, sizes and stamps; empty if there are no files."""
    return digest(json.dumps(sorted(files.items())).encode()) if files else ""


def folder(experiment_name: str) -> str:
    """Where an experiment's artifacts lie in the study's store."""
    return f"{FOLDER}/{experiment_name}"


def round_key(experiment_name: str, number: int, ticket: str = WINNING) -> str:
    """Where a round, or a control beside it, lies."""
    return f"{folder(experiment_name)}/round-{number}" + (f"-{ticket}" if ticket != WINNING else "")


def read_found(store: Store, experiment_name: str, files: Files) -> FoundRounds:
    """Read everything that is committed in an experiment's folder; what is damaged is absent, with a warning."""
    tail = f"/{DONE}"
    keys = [path.removesuffix(tail) for path in files if path.endswith(tail)]
    rows = dict(zip(keys, map_in_threads(lambda key: _read(store, key), keys), strict=True))
    rounds: list[Row] = []
    while (row := rows.pop(round_key(experiment_name, len(rounds)), None)) is not None:
        rounds.append(row)
    has_start = rows.pop(f"{folder(experiment_name)}/start", None) is not None
    controls = tuple(row for row in rows.values() if row is not None and row["ticket"] != WINNING)
    return FoundRounds(
        rounds=tuple(rounds), controls=controls, has_start=has_start, num_files=len(files), listing=fingerprint(files)
    )


def _read(store: Store, key: str) -> Row | None:
    """The record of a round; an empty one for a start; None if it is damaged."""
    found = store.load(key)
    if found is None:
        return None
    if "result.json" not in found:
        return {}
    record = record_of(store, key, found["result.json"])
    return record and {**record, **_times(store.read(f"{key}/{CLOCK}"))}


def record_of(store: Store, key: str, payload: bytes) -> Row | None:
    """The record in `result.json` of the round `key`; None, with a warning, if it is none."""
    try:
        return read_record(payload)
    except ValueError as damage:
        warnings.warn(f"{store.url}/{key} counts as absent: {damage}", DamagedArtifactWarning, stacklevel=2)
        return None


def _times(clock: bytes | None) -> dict[str, float | None]:
    """How many seconds the round took, and when it ended (seconds of the epoch); None if its clock is lost."""
    try:
        told = json.loads(clock or b"")
        return {name: float(told[name]) for name in ("seconds", "finished")}
    except (ValueError, KeyError, TypeError):
        return {"seconds": None, "finished": None}


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


def metrics_of(record: Row) -> Row:
    """A round's metrics, whole: methods that nothing can cut off may have been stored before that was measured."""
    metrics: Row = record["metrics"]
    counts = {name.replace("num_", "num_acting_"): metrics[name] for name in NUM_PARAMS}
    return {**counts, "without_path": [], **dict.fromkeys(WITHOUT_PROMPTS), **metrics}


def val_accuracies(rounds: Sequence[Row]) -> list[float]:
    """What every decision reads; nan of final runs, on which none is made."""
    found = [row["metrics"]["val_accuracy"] for row in rounds]
    return [math.nan if accuracy is None else float(accuracy) for accuracy in found]
