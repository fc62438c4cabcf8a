"""The placement groups that Ray Train makes for worker groups, and what remains of them when their controller dies.

A trial that is stopped or killed takes Train's controller and workers with it, but Ray keeps what the controller has
reserved until the whole job ends: the trial's next attempt would wait for its own CPUs. Train's cleaner asks the state
API, which fails where two Rays share a machine (Ray 2.60, measured). So `sweep` lets go of what has no creator left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray._private.state import state
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util.placement_group import PlacementGroup, remove_placement_group

BEAT_SECONDS, PATIENCE_SECONDS = 1.0, 20.0


@contextmanager
def released_when_abandoned() -> Iterator[None]:
    """While the block runs, abandoned groups go within seconds; its end waits for the last of them, within reason."""
    over = threading.Event()
    thread = threading.Thread(target=_tend, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def release_abandoned() -> bool:
    """Remove this job's placement groups whose creator, an actor, is dead; whether no actor's group is left."""
    left = [group for group in _of_actors() if group.state != PlacementGroupTableData.REMOVED]
    for group in left:
        if group.creator_actor_dead:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return not left


def _tend(over: threading.Event) -> None:
    while not over.wait(BEAT_SECONDS):
        release_abandoned()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not release_abandoned() and time.monotonic() < deadline:
        time.sleep(0.1)


def _of_actors() -> list[PlacementGroupTableData]:
    """Ray's records of all placement groups that actors of this job have made; Tune's own are made by the driver."""
    job = ray.get_runtime_context().get_job_id()
    table = map(PlacementGroupTableData.FromString, state._connect_and_get_accessor().get_placement_group_table())
    nobody = ray.ActorID.nil().binary()
    return [group for group in table if group.creator_job_id.hex() == job and group.creator_actor_id != nobody]
