"""A study as a submitted job on a real cluster: two `ray start` nodes with token authentication, Ray's own commands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lion_ray import job
from lion_ray.store import Store
from tests.helpers import artifacts

ROOT = Path(__file__).parent.parent
RAY = str(Path(sys.executable).parent / "ray")
PIPELINE = ["python", "-m", "lion_ray.pipeline", "pipelines/smoke.yaml"]
ROUNDS = 16
PATIENCE_SECONDS = 180.0  # another study may be running on this machine


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
    assert script.stdout is not None
    assert script.stdout.readline().startswith("two nodes are up")
    yield folder
    script.terminate()
    assert script.wait(timeout=60) == 0
    script.stdout.close()
    assert processes(str(folder)) == []


def processes(part: str) -> list[str]:
    """The commands of all processes that have `part` in theirs."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(file.read_bytes().replace(b"\0", b" ").decode())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [command for command in found if part in command]


def ray(cluster: Path, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """One of Ray's commands, as typed after `. env`."""
    variables = dict(re.findall(r"export (\w+)=(.*)", (cluster / "env").read_text()))
    clean = {name: value for name, value in os.environ.items() if name not in {"RAY_ADDRESS", "PYTHONPATH"}}
    environment = clean | variables | changed
    return subprocess.run([RAY, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def submit(cluster: Path, *settings: str, wait: bool = True) -> tuple[str, int]:
    """The id of a new job, and the exit status of `ray job submit`."""
    overrides = [part for each in settings for part in ("--set", each)]
    options = ["--working-dir", ".", *([] if wait else ["--no-wait"])]
    done = ray(cluster, "job", "submit", *options, "--", *PIPELINE, *overrides)
    found = re.search(r"raysubmit_\w+", done.stdout)
    assert found, done.stdout + done.stderr
    return found[0], done.returncode


def log(cluster: Path, name: str) -> list[str]:
    """What the job has printed, line by line."""
    return (cluster / f"head/session_latest/logs/job-driver-{name}.log").read_text().splitlines()


def wait_for(store: Store, round_key: str) -> None:
    """Until one of the study's experiments has that round."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(key.endswith(round_key) for key in store.committed()):
        assert time.monotonic() < deadline, "the job does not come to its first round"
        time.sleep(0.1)


def test_a_stopped_job_loses_nothing_and_the_next_one_finishes(cluster: Path, tmp_path: Path) -> None:
    mnist = "datasets=[{name: mnist, num_train: 64, num_val: 32, num_test: 32}]"
    settings = [f"storage={tmp_path}", mnist, "train.epochs=1", f"lottery.rounds={ROUNDS}", "lottery.prune=0.1"]
    store = Store(f"{tmp_path}/smoke")
    stopped, _ = submit(cluster, *settings, wait=False)
    wait_for(store, "round-1")
    assert ray(cluster, "job", "stop", stopped).returncode == 0
    assert "was stopped" in ray(cluster, "job", "status", stopped).stdout
    assert log(cluster, stopped)[-2:] == [
        "stopped: the same command goes on where this one ended",
        f"exit status {job.STOPPED}",
    ]
    assert not [command for command in processes(str(cluster)) if "lion_ray.pipeline" in command]
    before, written = artifacts(store), clocks(tmp_path)
    assert 2 <= len(written) < 1 + ROUNDS

    finished, status = submit(cluster, *settings)
    lines = log(cluster, finished)
    assert status == 0
    assert lines[-1] == "exit status 0"
    assert "\x1b" not in "".join(lines)
    assert "\r" not in "".join(lines)
    progress = [line for line in lines if "epoch 1/1" in line]
    assert (
        1 <= len(progress) <= 1 + ROUNDS - len(written) + 1
    )  # a round that was not finished is trained from its start
    assert re.match(r"\d\d:\d\d  (\d)/\1 done ", progress[-1])
    assert all(clocks(tmp_path)[path] == time for path, time in written.items()), "a finished round was trained again"
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


@pytest.mark.parametrize("changed", [{"RAY_AUTH_TOKEN": "x" * 64}, {"RAY_AUTH_MODE": "disabled"}])
def test_nobody_submits_without_the_token(cluster: Path, changed: dict[str, str]) -> None:
    refused = ray(cluster, "job", "submit", "--", "true", **changed)
    assert refused.returncode != 0
    assert "AuthenticationError" in refused.stderr
