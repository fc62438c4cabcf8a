"""Placement groups whose creator is dead are let go of, whatever state they are in; those of the living stay."""

from __future__ import annotations

import os
import signal
import time

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

from lion_ray.sweep.placement_groups import release_abandoned

TOO_MANY = 100


class Controller:
    """As Train's: reserves, one of it more than there is, and is killed."""

    def reserve(self) -> tuple[int, list[str]]:
        self.held = [placement_group([{"CPU": 1}]), placement_group([{"CPU": TOO_MANY}])]
        return os.getpid(), [group.id.hex() for group in self.held]


@pytest.mark.usefixtures("embedded_ray")
def test_what_a_killed_actor_has_reserved_or_waits_for_is_released_and_the_drivers_own_stays() -> None:
    own = placement_group([{"CPU": 1}])
    controller = ray.remote(num_cpus=0)(Controller).remote()
    pid, reserved = ray.get(controller.reserve.remote())
    assert not release_abandoned()
    assert {placement_group_table()[name]["state"] for name in reserved} == {"CREATED", "PENDING"}
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not release_abandoned():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert {placement_group_table()[name]["state"] for name in reserved} == {"REMOVED"}
    assert placement_group_table()[own.id.hex()]["state"] != "REMOVED"
    remove_placement_group(own)
