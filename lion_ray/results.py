"""Finished rounds read back from the store, for planning and for the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lion_ray.lottery import WINNING
from lion_ray.store import Store

Row = dict[str, Any]


def round_key(experiment_name: str, number: int, ticket: str = WINNING) -> str:
    """Where a round, or a control beside it, lies in the study's store."""
    return f"experiments/{experiment_name}/round-{number}" + (f"-{ticket}" if ticket != WINNING else "")


def read_rounds(store: Store, experiment_name: str, committed: frozenset[str], limit: int) -> list[Row]:
    """The records of rounds 0, 1, ... of one experiment up to the first that is absent or damaged, at most `limit`.

    Args:
        committed: the store's keys, from one listing for all experiments.
    """
    rounds: list[Row] = []
    for number in range(limit):
        row = _read(store, round_key(experiment_name, number), committed)
        if row is None:
            break
        rounds.append(row)
    return rounds


def read_controls(
    store: Store, experiment_name: str, committed: frozenset[str], rounds: Sequence[Row], controls: Sequence[str]
) -> list[Row]:
    """The records of `controls` beside the pruned ones of `rounds`, as far as they are there."""
    keys = [round_key(experiment_name, row["round"], control) for row in rounds[1:] for control in controls]
    found = (_read(store, key, committed) for key in keys)
    return [row for row in found if row is not None]


def _read(store: Store, key: str, committed: frozenset[str]) -> Row | None:
    found = store.load(key, ["result.json", "clock.json"]) if key in committed else None
    if found is None:
        return None
    record: Row = json.loads(found["result.json"])
    return {**record, "clock": json.loads(found["clock.json"])}


def val_accuracies(rounds: Sequence[Row]) -> list[float]:
    """What every decision reads."""
    return [float(row["metrics"]["val_accuracy"]) for row in rounds]
