"""What a study's store and the proxy's log prove once it has come to its end; numbers for the campaign's figures.

Every training of a round begins with reading its notes, `partial.safetensors`, whether there are any or not, and ends
with writing a `clock.json`, which no two trainings share, and then `DONE`. So the log shows each.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from lion_ray.store import DONE, Store
from lion_ray.store.layout import CHECKPOINT, CLOCK, DRIVER, EXPERIMENTS
from tests.faults.logged_proxy import Answer
from tests.support.small_runs import artifacts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trainings:
    """Of one study: rounds with `DONE`, how often one began to be trained, notes found; what must not be."""

    rounds: int
    begun: int
    resumed: int
    begun_after_done: list[str]
    done_twice: list[str]


def trainings(answers: Sequence[Answer], study: str) -> Trainings:
    """Of the study whose keys begin with `study`."""
    done, begun, ended = ({key: list[float]() for key in _rounds(answers, study)} for _ in range(3))
    resumed = 0
    for answer in answers:
        key, _, name = answer.path.rpartition("/")
        if key not in done:
            continue
        if answer.method == "PUT" and answer.status == 200 and name in (DONE, CLOCK):
            (done if name == DONE else ended)[key].append(answer.at)
        elif answer.method == "GET" and name == CHECKPOINT:
            begun[key].append(answer.at)
            resumed += answer.status in (200, 206)
    first = {key: min(times) for key, times in done.items() if times}
    return Trainings(
        rounds=len(first),
        begun=sum(map(len, begun.values())),
        resumed=resumed,
        begun_after_done=[key for key, when in first.items() if max(begun[key], default=0.0) > when],
        done_twice=[key for key, when in first.items() if max(ended[key], default=0.0) > when],
    )


def _rounds(answers: Sequence[Answer], study: str) -> set[str]:
    """The key of every round of the study that the log names."""
    return {key[0] for answer in answers if (key := re.match(rf"/{study}/.*/round-[^/]+(?=/)", answer.path))}


def differences(store: Store, reference: Store) -> list[str]:
    """Every committed file of an experiment that is not the same bits in both, or that only one of them has."""
    found, expected = artifacts(store), artifacts(reference)
    paths = {path for path in found.keys() | expected.keys() if path.startswith(f"{EXPERIMENTS}/")}
    return sorted(path for path in paths if found.get(path) != expected.get(path))


def remains(store: Store) -> list[str]:
    """Files of the study that should have gone: notes of unfinished rounds, the driver's lease, parts."""
    return [path for path in store.paths() if path.endswith((CHECKPOINT, DRIVER, ".part"))]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Number, median and extremes, and the middle 80 %."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    at = [ordered[round(share * (len(ordered) - 1))] for share in (0.0, 0.1, 0.5, 0.9, 1.0)]
    return {"n": len(ordered)} | dict(
        zip(("min", "p10", "median", "p90", "max"), (round(x, 1) for x in at), strict=True)
    )
