"""What a study's store and the proxy's log prove once it has come to its end; numbers for the campaign's figures.

Every training of a round begins with reading its notes, `partial.safetensors`, whether there are any or not, and ends
with writing a `DONE` that holds the digest of a `clock.json` that no two trainings share. So the log shows each.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from lion_ray.notes import FILE
from lion_ray.store import DONE, Store
from lion_ray.store.lease import PATH as LEASE
from tests.faults.logged_proxy import Answer
from tests.helpers import artifacts


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
    done: dict[str, list[Answer]] = defaultdict(list)
    begun: dict[str, list[Answer]] = defaultdict(list)
    for answer in answers:
        key, _, name = answer.path.partition("?")[0].rpartition("/")
        if key.startswith(f"/{study}/") and answer.method == "PUT" and name == DONE and answer.status == 200:
            done[key].append(answer)
        elif key.startswith(f"/{study}/") and answer.method == "GET" and name == FILE:
            begun[key].append(answer)
    rounds = [key for key in done if not key.endswith("/start")]
    return Trainings(
        rounds=len(rounds),
        begun=sum(len(answers) for answers in begun.values()),
        resumed=sum(answer.status in (200, 206) for answers in begun.values() for answer in answers),
        begun_after_done=[key for key in rounds if begun[key][-1].at > done[key][0].at],
        done_twice=[key for key in rounds if len({answer.digest for answer in done[key]}) > 1],
    )


def differences(store: Store, reference: Store) -> list[str]:
    """Every committed file but clocks that is not the same bits, and every file that one has and the other has not."""
    found, expected = artifacts(store), artifacts(reference)
    return sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))


def remains(store: Store) -> list[str]:
    """Files of the study that should have gone: notes of unfinished rounds, the driver's lease, parts."""
    return [path for path in store.paths() if path.endswith((FILE, LEASE, ".part"))]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Number, median and extremes, and the middle 80 %."""
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    at = [ordered[round(share * (len(ordered) - 1))] for share in (0.0, 0.1, 0.5, 0.9, 1.0)]
    return {"n": len(ordered)} | dict(
        zip(("min", "p10", "median", "p90", "max"), (round(x, 1) for x in at), strict=True)
    )
