"""Which experiments a scheduler or a budget has ended early, kept in the study's store before anything acts on it.

    schedule/<scheduler>-<hash>/<dataset>-<hash>.json   the decisions on one dataset's experiments, or on those of one
                                                        search or on one setting's final runs, in their order
    schedule/<scheduler>-<hash>/clock.json              seconds that sweeps under these settings have taken

One driver writes, each file in one piece. Another `scheduler` section has files of its own: it decides anew, from the
stored rounds. `schedule` writes and replays the decisions, `planning` reads who was stopped.
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

DIVERGENCE = "divergence"  # the end of a search trial whose loss is no number: a result, not a failure
BUDGET = "budget"
LOTTERY = "lottery"  # the scheduler whose decisions follow from the stored rounds and the study file alone


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """What was decided `by` a scheduler or a budget when `experiment` had finished `round`.

    `round` is -1 if nothing was trained, None if the experiment ended without another round. Those `stopped`, by name
    and each with the last round that counts, train no further.
    """

    experiment: str
    round: int | None
    val_accuracy: float | None
    stopped: tuple[tuple[str, int], ...]
    by: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stop:
    """An experiment's end before its last round: the last round that counts (-1: none), and who ended it."""

    round: int
    by: str


class Decisions:
    """The decisions of one study under one `scheduler` section."""

    def __init__(self, store: Store, config: SchedulerConfig) -> None:
        self._store = store
        self._folder = layout.decisions(config.name, _hash(config.model_dump(mode="json")))

    def read(self, peers: ComparisonGroup) -> tuple[Decision, ...]:
        """The decisions on `peers` in their order; none, with a warning, if the file is damaged."""
        found = signed.read(self._store, self._path(peers), _parsed, signed="decisions")
        return () if found is None else found

    def write(self, peers: ComparisonGroup, decisions: Sequence[Decision]) -> None:
        """Replace the decisions on `peers`; it is in the store when this returns."""
        fields = {"decisions": [dataclasses.asdict(decision) for decision in decisions]}
        signed.write(self._store, self._path(peers), fields, signed="decisions")

    def stops(self, groups: Iterable[ComparisonGroup]) -> dict[str, Stop]:
        """Who was stopped, by experiment."""
        found: dict[str, Stop] = {}
        for peers in dict.fromkeys(groups):
            for decision in self.read(peers):
                found |= {name: Stop(round=last, by=decision.by) for name, last in decision.stopped}
        return found

    @property
    def seconds(self) -> float:
        """Wall time that sweeps have taken so far, as far as they wrote it down."""
        path = f"{self._folder}/clock.json"
        payload = self._store.read(path)
        try:
            return float(json.loads(payload)["seconds"]) if payload is not None else 0.0
        except (ValueError, KeyError, TypeError) as damage:
            signed.warn(self._store, path, damage)
            return 0.0

    def write_seconds(self, seconds: float) -> None:
        """Replace `seconds`."""
        self._store.write(f"{self._folder}/clock.json", json.dumps({"seconds": seconds}).encode())

    def _path(self, peers: ComparisonGroup) -> str:
        asked = peers.dataset.model_dump(mode="json", exclude={"url"}, exclude_defaults=True)
        if peers.content:
            asked |= {"content": peers.content}
        if peers.stage:
            asked |= {"entry": peers.entry, "stage": peers.stage}
        return f"{self._folder}/{peers.dataset.name}-{_hash(asked)}.json"


def _parsed(fields: dict[str, Any]) -> tuple[Decision, ...]:
    return tuple(_decision(each) for each in fields["decisions"])


def _decision(fields: dict[str, Any]) -> Decision:
    stopped = tuple((str(name), int(last)) for name, last in fields["stopped"])
    return Decision(**{**fields, "stopped": stopped})


def _hash(value: Any) -> str:
    return digest_of(value)[:8]
