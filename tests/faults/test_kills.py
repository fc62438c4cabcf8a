"""Real kills of a real sweep: SIGKILL to the driver and to every Ray process, then the same command again.

python -m pytest -m slow -s tests/faults
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lion_ray.store import Store
from tests.helpers import artifacts

NUM_KILLS = 8
RUN = [sys.executable, "-m", "lion_ray.pipeline"]


def family(pid: int) -> list[int]:
    """`pid` and all its descendants."""
    table = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    parents = {int(line.split()[0]): int(line.split()[1]) for line in table.splitlines()}
    found = [pid]
    for parent in found:
        found += [child for child, of in parents.items() if of == parent]
    return found


def kill_everything(process: subprocess.Popen[bytes]) -> list[int]:
    killed = family(process.pid)
    for pid in killed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    return killed


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "zombie" not in status.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_that_is_killed_again_and_again_ends_with_the_same_bits(tmp_path: Path, workers: int) -> None:
    def command(storage: str) -> list[str]:
        return [*RUN, "smoke.yaml", "--set", f"storage={tmp_path / storage}", "--set", f"resources.workers={workers}"]

    assert subprocess.run(command("undisturbed"), stdout=subprocess.DEVNULL, check=False).returncode == 0
    draw = random.Random(workers)
    committed: list[int] = []
    for number in range(NUM_KILLS):
        process = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait = draw.uniform(1.0, 45.0)
        try:
            process.wait(timeout=wait)
        except subprocess.TimeoutExpired:
            killed = kill_everything(process)
            time.sleep(1.0)
            assert not [pid for pid in killed if alive(pid)]
        committed.append(len(Store(str(tmp_path / "killed" / "smoke")).committed()))
        print(f"kill {number} after {wait:.1f} s: {committed[-1]} keys committed")
    assert committed == sorted(committed)
    assert subprocess.run(command("killed"), check=False).returncode == 0
    killed_run, undisturbed = (artifacts(Store(str(tmp_path / name / "smoke"))) for name in ("killed", "undisturbed"))
    assert killed_run == undisturbed
    assert not list((tmp_path / "killed").rglob("*.part"))
