"""A study as a submitted job on a real cluster: two `ray start` nodes with token authentication, Ray's own commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lion_ray import console, job
from lion_ray.store import Store
from tests.support.jobs import ROOT, log, processes, ray_command, submit, wait_for
from tests.support.small_runs import artifacts

ROUNDS = 16


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """The folder of a cluster that `cluster/two_nodes.py` has started; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(
        prefix="two"
    ) as folder:  # shorter than pytest's: a socket's path ends at 107 bytes
        yield from two_nodes(Path(folder))


def two_nodes(folder: Path) -> Iterator[Path]:
    command = [sys.executable, str(ROOT / "cluster/two_nodes.py"), str(folder)]
    environment = os.environ | {"RAY_memory_monitor_refresh_ms": "0"}  # others' memory is not the jobs' fault
    script = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    with script:
        assert script.stdout is not None
        try:
            assert script.stdout.readline().startswith("two nodes are up")
            yield folder
        finally:
            script.terminate()
            status = script.wait(timeout=60)
    assert status == 0
    assert processes(str(folder)) == {}


def test_a_stopped_job_loses_nothing_and_the_next_one_finishes(cluster: Path, tmp_path: Path) -> None:
    mnist = "datasets=[{name: mnist, num_train: 64, num_val: 32, num_test: 32}]"
    settings = [f"storage={tmp_path}", mnist, "train.epochs=1", f"lottery.rounds={ROUNDS}", "lottery.prune=0.1"]
    store = Store(f"{tmp_path}/smoke")
    stopped, _ = submit(cluster, *settings, options=("--working-dir", ".", "--no-wait"))
    wait_for(store, "round-1")
    assert ray_command(cluster, "job", "stop", stopped).returncode == 0
    assert "was stopped" in ray_command(cluster, "job", "status", stopped).stdout
    assert log(cluster, stopped)[-2:] == [
        "stopped: the same command goes on where this one ended",
        f"exit status {console.STOPPED}",
    ]
    assert not [command for command in processes(str(cluster)).values() if "lion_ray.pipeline" in command]
    before, written = artifacts(store), clocks(tmp_path)
    assert 2 <= len(written) < 1 + ROUNDS

    finished, status = submit(cluster, *settings)
    lines = log(cluster, finished)
    assert status == 0
    assert lines[-1] == "exit status 0"
    assert "\x1b" not in "".join(lines)
    assert "\r" not in "".join(lines)
    progress = [line for line in lines if "epoch 1/1" in line]
    assert len(progress) == 1 + ROUNDS - len(written)  # one line per epoch; finished rounds are not trained again
    assert re.match(r"\d\d:\d\d  (\d)/\1 done ", progress[-1])
    assert all(clocks(tmp_path)[path] == when for path, when in written.items())
    after = artifacts(store)
    assert {key: after[key] for key in before} == before
    assert len(clocks(tmp_path)) == 1 + ROUNDS


def clocks(storage: Path) -> dict[str, int]:
    """When each finished round was written."""
    return {str(file): file.stat().st_mtime_ns for file in storage.glob("smoke/experiments/*/round-*/DONE")}


def test_a_failed_job_is_1_to_ray_and_its_last_line_names_the_real_status(cluster: Path) -> None:
    name, status = submit(cluster, "train.epochz=1")
    assert status == 1
    assert log(cluster, name)[-1] == "exit status 2"
    assert "train.epochz: unknown key" in log(cluster, name)[-2]


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [(["--dry-run"], 0, "WARNING storage ./lion-results is in the folder of this job"), (["-x"], 2, "")],
)
def test_only_a_submitted_job_ends_with_its_exit_status(arguments: list[str], status: int, says: str) -> None:
    command = [sys.executable, "-m", "lion_ray.pipeline", "smoke.yaml", *arguments]
    alone, submitted = (
        subprocess.run(command, env=os.environ | more, cwd=ROOT, capture_output=True, text=True, check=False)
        for more in ({}, {job.SUBMITTED: "{}"})
    )
    assert (alone.returncode, submitted.returncode) == (status, status)
    assert submitted.stdout.endswith(f"exit status {status}\n")
    assert says in submitted.stdout
    assert "exit status" not in alone.stdout + alone.stderr
    assert "WARNING" not in alone.stdout


@pytest.mark.parametrize("changed", [{"RAY_AUTH_TOKEN": "x" * 64}, {"RAY_AUTH_MODE": "disabled"}])
def test_nobody_submits_without_the_token(cluster: Path, changed: dict[str, str]) -> None:
    refused = ray_command(cluster, "job", "submit", "--", "true", **changed)
    assert refused.returncode != 0
    assert "AuthenticationError" in refused.stderr
