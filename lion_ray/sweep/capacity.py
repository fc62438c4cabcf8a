"""How many experiments a cluster of such nodes carries at once. No Ray: `cluster` says what the nodes have.

All workers of a study ask for the same, so a node carries as many as fit it, and as many gangs fit the cluster as its
nodes' sum holds, whatever the order they start in. No gang holds a part of what it needs: there is no deadlock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from lion_ray.config import ResourcesConfig, StudyError

Resources = Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capacity:
    """What each living node has, and what an autoscaler may bring at most: node shapes with their greatest number."""

    nodes: Sequence[Resources]
    to_come: Sequence[tuple[Resources, int]] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """`concurrency` experiments at once; `awaited` says what is waited for, if not even one fits yet."""

    concurrency: int
    awaited: str | None = None


def fit(resources: ResourcesConfig, capacity: Capacity, *, source: str = "study") -> Fit:
    """How many experiments run at once, each with all of its workers.

    Raises:
        StudyError: not even one, now or with all that an autoscaler may bring; the shortfall is named.
    """
    worker = resources.per_worker
    now = sum(num_workers(node, worker) for node in capacity.nodes)
    later = sum(num_workers(shape, worker) * limit for shape, limit in capacity.to_come)
    most = max(now, later)  # an autoscaler's limits count the nodes that it has started already
    if most < resources.min_workers:
        raise StudyError(source, "resources", _shortfall(resources, worker, most, capacity))
    concurrency = max(1, most // resources.max_workers)
    if now >= resources.min_workers:
        return Fit(concurrency=concurrency)
    has = f"{now} of {resources.min_workers} workers with {_text(worker)} fit the nodes that are here"
    return Fit(concurrency=concurrency, awaited=f"{has}; the autoscaler may bring the rest")


def num_workers(node: Resources, worker: Resources) -> int:
    """How many workers a node carries."""
    return int(min(node.get(kind, 0.0) / amount + 1e-9 for kind, amount in worker.items()))


def _shortfall(resources: ResourcesConfig, worker: Resources, most: int, capacity: Capacity) -> str:
    """What one experiment needs, what fits, and the node that comes nearest."""
    shapes = [*capacity.nodes, *(shape for shape, _ in capacity.to_come)]
    largest: Resources = max(shapes, key=lambda shape: [shape.get(kind, 0.0) for kind in ("GPU", "CPU")], default={})
    has = _text({kind: largest.get(kind, 0.0) for kind in worker})
    count = f"{resources.min_workers} worker{'s' * (resources.min_workers > 1)}"
    place = "the cluster" if not capacity.to_come else "the cluster, its autoscaler's limits included,"
    return f"one experiment needs {count} with {_text(worker)}; {place} has room for {most}, its largest node has {has}"


def _text(resources: Resources) -> str:
    return ", ".join(f"{amount:g} {kind}" for kind, amount in resources.items())
