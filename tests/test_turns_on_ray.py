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
from lion_ray.decisions import Decisions
from lion_ray.config import SchedulerConfig
from lion_ray.store import Store
from tests.faults.test_kills import family
from tests.helpers import artifacts

SMALL = "num_train: 16, num_val: 20, num_test: 20"
DATASETS = f"datasets=[{{name: mnist, {SMALL}}}, {{name: animal_mnist, {SMALL}}}]"
ONE_AT_A_TIME = "resources.cpus=4"  # of the test run's Ray


def run(study_file: Path, *overrides: str) -> int:
    common = [DATASETS, "train.epochs=1", "methods=[{name: lion, input: false}]"]
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
    assert order(capsys.readouterr().out) == [(name, number) for name in ("mnist", "animal_mnist") for number in range(3)]
    assert artifacts(Store(f"{together}/tiny")) == artifacts(Store(f"{tmp_path}/results/tiny"))


@pytest.mark.usefixtures("embedded_ray")
@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_tunes_schedulers_decide_per_dataset_and_a_second_run_agrees(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    methods = "methods=[{name: lion, input: false}, {name: lion, input: false, output: {width: 2}}]"
    sections = {"median": "{name: median, min_samples: 1}", "asha": "{name: asha, reduction_factor: 2}"}
    arguments = ["seeds=[0, 1]", methods, f"scheduler={sections.get(name, name)}"]
    assert run(study_file, *arguments) == 0
    first = capsys.readouterr().out
    stopped = [line for line in first.splitlines() if f"stopped by {name} after round" in line]
    decisions = Store(f"{tmp_path}/results/tiny")
    files = [path for path in decisions.paths() if path.startswith(f"schedule/{name}-")]
    assert len(files) == 2  # one for each dataset
    assert run(study_file, *arguments) == 0
    again = capsys.readouterr().out
    assert "nothing to do" in again
    for line in stopped:
        assert line.rpartition(": ")[2] in again


@pytest.mark.usefixtures("embedded_ray")
def test_a_stopped_experiment_of_two_workers_leaves_no_worker_and_no_placement_group(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ray.cluster_resources()
    budget = "scheduler.budget={rounds: 1}"
    assert run(study_file, "resources.workers=2", "lottery.rounds=30", budget, DATASETS.replace(", {name: a", "] # ")) == 0
    printed = capsys.readouterr().out
    assert "stopped by budget after round 0" in printed
    stops = Decisions(Store(f"{tmp_path}/results/tiny"), SchedulerConfig.model_validate({"budget": {"rounds": 1}}))
    assert stops
    deadline = time.monotonic() + 20
    while left := leftovers(before):
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def leftovers(before: dict[str, float]) -> list[str]:
    """What still holds something: placement groups, resources, processes of trials or Train workers."""
    groups = [str(group["state"]) for group in placement_group_table().values() if group["state"] != "REMOVED"]
    free = ray.available_resources()
    held = [kind for kind in ("CPU", "memory") if free.get(kind, 0) < before[kind]]
    titles = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in family(os.getpid()) if os.path.exists(f"/proc/{pid}")]
    busy = [title for title in titles if re.search(r"ray::(\w*Train|ImplicitFunc|run_trial|\w*Worker)", title)]
    return [*groups, *held, *busy]
