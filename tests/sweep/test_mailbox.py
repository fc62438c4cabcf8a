"""The mailbox's process: small whatever passes through it, and gone with its sweep."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
import ray
from ray.util.state import list_actors

from lion_ray import pipeline
from lion_ray.sweep.events import FinalRunsAdmitted
from lion_ray.sweep.mailbox import end, start_mailbox, unwrap, wrap
from tests.support.small_runs import experiment


@pytest.mark.usefixtures("embedded_ray")
def test_experiments_pass_through_the_board_without_what_they_import(study_file: Path) -> None:
    given = experiment(study_file)
    mailbox = start_mailbox()
    ray.get(mailbox.hand.remote("a", wrap(given)))
    ray.get(mailbox.put.remote(FinalRunsAdmitted(wrapped_runs=wrap([given]), stand_ins=(given.name,))))
    assert unwrap(ray.get(mailbox.work.remote("a"))) == given
    assert [unwrap(event.wrapped_runs) for event in ray.get(mailbox.take.remote())] == [[given]]
    imported = ray.get(mailbox.__ray_call__.remote(lambda _: set(sys.modules)))
    assert "lion_ray.sweep.mailbox" in imported
    assert not imported & {"torch", "lion_ray.experiments"}  # 0.3 GB
    end(mailbox)


@pytest.mark.usefixtures("embedded_ray")
@pytest.mark.parametrize("storage", ["{tmp_path}", "memory://left"])
def test_a_sweep_leaves_no_actor(storage: str, study_file: Path, tmp_path: Path) -> None:
    before = actors()
    settings = [f"storage={storage.format(tmp_path=tmp_path)}", "methods=[linear]", "lottery.rounds=1"]
    assert pipeline.main([str(study_file), *(part for each in settings for part in ("--set", each))]) == 0
    deadline = time.monotonic() + 30
    while left := actors() - before:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def actors() -> set[tuple[str, str]]:
    """(class, id) of all that are alive."""
    return {
        (each.class_name, each.actor_id)
        for each in list_actors(
            address=ray.get_runtime_context().gcs_address, filters=[("state", "=", "ALIVE")], limit=1000
        )
    }
