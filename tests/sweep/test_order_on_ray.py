"""Turns on a real Ray: the order of real rounds, real stops, and that a stopped experiment leaves nothing behind."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
import ray
from ray.util import placement_group_table

from lion_ray import pipeline
from lion_ray.store import Store
from tests.end_to_end.test_study import table
from tests.faults.test_kills import family
from tests.support.small_runs import artifacts

SMALL = "num_train: 16, num_val: 20, num_test: 20"
MNIST, ANIMAL_MNIST = (f"{{name: {name}, {SMALL}}}" for name in ("mnist", "animal_mnist"))
ONE_AT_A_TIME = "resources.cpus=4"  # of the test run's Ray


def run(study_file: Path, *overrides: str) -> int:
    common = [f"datasets=[{MNIST}, {ANIMAL_MNIST}]", "train.epochs=1", "methods=[{name: lion, input: false}]"]
    return pipeline.main([str(study_file), *(part for each in [*common, *overrides] for part in ("--set", each))])


def order(printed: str) -> list[tuple[str, int]]:
    """(dataset, round) as they were trained."""
    return [(name, int(number)) for name, number in re.findall(r"(\w+)\(num_train.* round (\d)/\d  epoch 1/1", printed)]


@pytest.mark.usefixtures("embedded_ray")
def test_rounds_of_the_datasets_alternate_and_the_progress_shows_it(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study_file, ONE_AT_A_TIME) == 0
    printed = capsys.readouterr().out
    assert order(printed) == [(name, number) for number in range(3) for name in ("mnist", "animal_mnist")]
    assert "all have 2 rounds" in printed
    together = tmp_path / "together"
    assert run(study_file, ONE_AT_A_TIME, f"storage={together}", "scheduler.rounds_per_turn=3") == 0
    one_by_one = [(name, number) for name in ("mnist", "animal_mnist") for number in range(3)]
    assert order(capsys.readouterr().out) == one_by_one
    assert artifacts(Store(f"{together}/tiny")) == artifacts(Store(f"{tmp_path}/results/tiny"))


@pytest.mark.usefixtures("embedded_ray")
def test_a_scheduler_of_tune_decides_per_dataset_and_a_second_run_agrees(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["seeds=[0, 1, 2, 3, 4]", "scheduler=hyperband"]  # seeds 2, 3 and 4 are one bracket: one goes on
    assert run(study_file, *arguments) == 0
    first = capsys.readouterr().out
    assert first.count("STOPPED ") == 2 * 2
    files = Store(f"{tmp_path}/results/tiny").paths()
    assert len([path for path in files if path.startswith("schedule/hyperband-")]) == 2  # one for each dataset
    assert run(study_file, *arguments) == 0
    again = capsys.readouterr().out
    assert "nothing to do" in again
    assert [line for line in again.splitlines() if "STOPPED " in line] == [
        line for line in first.splitlines() if "STOPPED " in line
    ]
    rows = table(tmp_path / "results", "tiny")
    assert {row["stopped_by"] for row in rows} == {"hyperband", None}


@pytest.mark.usefixtures("embedded_ray")
def test_a_stopped_experiment_of_two_workers_leaves_no_worker_and_no_placement_group(
    study_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    free = ray.cluster_resources()
    overrides = ["resources.workers=2", "lottery.rounds=30", "scheduler.budget={rounds: 1}", f"datasets=[{MNIST}]"]
    assert run(study_file, *overrides) == 0
    assert "stopped by budget after round 0" in capsys.readouterr().out
    deadline = time.monotonic() + 20
    while left := leftovers(free):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def leftovers(free: dict[str, float]) -> list[str]:
    """What still holds something: placement groups, resources, processes of trials or of Train."""
    groups = [str(group["state"]) for group in placement_group_table().values() if group["state"] != "REMOVED"]
    now = ray.available_resources()
    held = [kind for kind in ("CPU", "memory") if now.get(kind, 0) < free[kind]]
    titles = [title(pid) for pid in family(os.getpid())]
    return [*groups, *held, *filter(re.compile(r"ray::(\w*Train|ImplicitFunc)").match, titles)]


def title(pid: int) -> str:
    """A process's title, empty if it has just ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
