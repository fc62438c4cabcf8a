"""The worker groups that Ray Train starts for trials, and what remains of them when a trial is stopped from outside.

A stopped trial takes Train's controller and workers with it, but their placement group holds its CPUs and GPUs until
Train's own cleaner notices; that one asks the state API, which fails where two Rays share a machine (Ray 2.60,
measured). So the first worker of a group makes itself known (`here`), and `sweep` lets go of what is left (`Groups`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, remove_placement_group

PATIENCE_SECONDS = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """One worker group: the actor of its first worker, and the placement group that it stands in."""

    worker: Any
    placement: PlacementGroup


def here() -> Group:
    """The group of the Train worker that calls this."""
    context = ray.get_runtime_context()
    placement_id = ray.PlacementGroupID.from_hex(context.get_placement_group_id())
    return Group(worker=context.current_actor, placement=PlacementGroup(placement_id))


class Groups:
    """Groups of trials that have ended. Nothing is touched while a worker lives: Train would only start it again."""

    def __init__(self) -> None:
        self._ended: list[tuple[Group, Any]] = []

    def end(self, groups: Sequence[Group]) -> None:
        """From now on these groups' placement groups go as soon as their workers are gone."""
        self._ended += [(group, group.worker.__ray_ready__.remote()) for group in groups]

    def release(self) -> bool:
        """Let go of all groups whose workers are gone; whether none is left."""
        waiting = []
        for group, answer in self._ended:
            if not ray.wait([answer], timeout=0)[0]:
                waiting.append((group, answer))
            elif _is_error(answer):
                remove_placement_group(group.placement)
            else:
                waiting.append((group, group.worker.__ray_ready__.remote()))
        self._ended = waiting
        return not waiting

    def release_all(self) -> None:
        """Wait for the last worker to go, within reason."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self.release() and time.monotonic() < deadline:
            time.sleep(0.1)


def _is_error(answer: Any) -> bool:
    try:
        ray.get(answer)
    except ray.exceptions.RayActorError:
        return True
    return False
