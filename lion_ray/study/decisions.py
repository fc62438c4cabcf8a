"""Which experiments a scheduler or a budget has ended early. A decision is stored before anything acts on it.

    schedule/<scheduler>-<hash>/<dataset>-<hash>.json   the decisions on one dataset's experiments, or on those of one
                                                        search or on one setting's final runs, in their order
    schedule/<scheduler>-<hash>/clock.json              seconds that sweeps under these settings have taken

One driver writes the files, and it replaces each of them as a whole. Another `scheduler` section has its own files and
decides anew from the stored rounds. `lion_ray.schedule` writes and replays the decisions; `lion_ray.study.plan` reads
which experiments were stopped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from lion_ray.config import SchedulerConfig
from lion_ray.experiments import ComparisonGroup
from lion_ray.store import Store, layout, signed
from lion_ray.store.signed import digest_of

DIVERGENCE = "divergence"  # ends a search trial whose loss is infinite or NaN: a result, not a failure
BUDGET = "budget"
LOTTERY = "lottery"  # the scheduler whose decisions follow from the stored rounds and the study file alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """A decision that a scheduler or a budget, `by`, made when `experiment` had finished `round`.

    `round` is -1 if nothing was trained, and None if the experiment ended without another round. `val_accuracy` is that
    round's, 0 to 1. `stopped` holds the names of the experiments that train no further, each with its last round that
    counts.
    """

    experiment: str
    round: int | None
    val_accuracy: float | None
    stopped: tuple[tuple[str, int], ...]
    by: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stop:
    """An experiment that ends before its last round.

    `round` is the last round that counts (-1 if none does), and `by` names the scheduler or the budget that ended it.
    """

    round: int
    by: str


class Decisions:
    """The stored decisions of one study under one `scheduler` section."""

    def __init__(self, store: Store, config: SchedulerConfig) -> None:
        """Name the folder of the decisions; nothing is read or written yet.

        Args:
            store: the study's store.
            config: the `scheduler` section; another section means another folder.
        """
        self._store = store
        self._folder = layout.decisions(config.name, _hash(config.model_dump(mode="json")))

    def read(self, group: ComparisonGroup) -> tuple[Decision, ...]:
        """The decisions on the experiments of `group`, in the order in which they were made.

        There are none if the file is absent or, with a warning, damaged.
        """
        decisions = signed.read(self._store, self._path(group), _parsed, signed="decisions")
        return () if decisions is None else decisions

    def write(self, group: ComparisonGroup, decisions: Sequence[Decision]) -> None:
        """Replace the decisions on the experiments of `group`; they are in the store when this returns."""
        fields = {"decisions": [dataclasses.asdict(decision) for decision in decisions]}
        signed.write(self._store, self._path(group), fields, signed="decisions")

    def stops(self, groups: Iterable[ComparisonGroup]) -> dict[str, Stop]:
        """The stop of every stopped experiment of `groups`, by the experiment's name."""
        stops: dict[str, Stop] = {}
        for group in dict.fromkeys(groups):
            for decision in self.read(group):
                stops |= {name: Stop(round=last, by=decision.by) for name, last in decision.stopped}
        return stops

    @property
    def seconds(self) -> float:
        """The wall time in seconds that sweeps under this section have taken, as far as they have stored it."""
        path = f"{self._folder}/clock.json"
        payload = self._store.read(path)
        try:
            return float(json.loads(payload)["seconds"]) if payload is not None else 0.0
        except (ValueError, KeyError, TypeError, RecursionError) as damage:
            signed.warn(self._store, path, damage)
            return 0.0

    def write_seconds(self, seconds: float) -> None:
        """Replace the stored wall time."""
        self._store.write(f"{self._folder}/clock.json", json.dumps({"seconds": seconds}).encode())

    def _path(self, group: ComparisonGroup) -> str:
        fields = group.dataset.model_dump(mode="json", exclude={"url"}, exclude_defaults=True)
        if group.content:
            fields |= {"content": group.content}
        if group.stage:
            fields |= {"entry": group.entry, "stage": group.stage}
        return f"{self._folder}/{group.dataset.name}-{_hash(fields)}.json"


def _parsed(fields: dict[str, Any]) -> tuple[Decision, ...]:
    return tuple(_decision(decision) for decision in fields["decisions"])


def _decision(fields: dict[str, Any]) -> Decision:
    stopped = tuple((str(name), int(last)) for name, last in fields["stopped"])
    return Decision(**{**fields, "stopped": stopped})


def _hash(value: object) -> str:
    return digest_of(value)[:8]
