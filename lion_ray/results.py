"""Finished rounds read back from the store, for planning and for the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lion_ray.store import Store

Row = dict[str, Any]


def read_rounds(store: Store, experiment_name: str, committed: frozenset[str], limit: int) -> list[Row]:
    """The records of rounds 0, 1, ... of one experiment up to the first that is absent or damaged, at most `limit`.

    Args:
        committed: the store's keys, from one listing for all experiments.
    """
    rounds: list[Row] = []
    for number in range(limit):
        key = f"experiments/{experiment_name}/round-{number}"
        found = store.load(key, ["result.json", "clock.json"]) if key in committed else None
        if found is None:
            break
        record: Row = json.loads(found["result.json"])
        rounds.append({**record, "clock": json.loads(found["clock.json"])})
    return rounds


def val_accuracies(rounds: Sequence[Row]) -> list[float]:
    """What every decision reads."""
    return [float(row["metrics"]["val_accuracy"]) for row in rounds]
