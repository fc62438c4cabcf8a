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
from tests.support.small_runs import artifacts

LEAST_KILLS = 3
LONGER = ["--set", "lottery.rounds=5", "--set", "train.epochs=6"]
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
        where = ["--set", f"storage={tmp_path / storage}", "--set", f"resources.workers={workers}"]
        return [*RUN, "smoke.yaml", *LONGER, *where]

    assert subprocess.run(command("undisturbed"), stdout=subprocess.DEVNULL, check=False).returncode == 0
    draw, store, committed = random.Random(workers), Store(str(tmp_path / "killed" / "smoke")), [0]
    while killed := kill_once(command("killed"), store, draw):
        committed.append(len(store.committed()))
        print(f"kill {len(committed) - 1}: {len(killed)} processes, {committed[-1]} keys committed", flush=True)
    assert len(committed) - 1 >= LEAST_KILLS
    assert committed == sorted(committed)
    killed_run, undisturbed = (artifacts(Store(str(tmp_path / name / "smoke"))) for name in ("killed", "undisturbed"))
    assert killed_run == undisturbed


SEARCH = "protocol={name: vtab1k, search: {train.lr: [0.01, 0.003, 0.001]}}"


@pytest.mark.slow
def test_a_search_that_is_killed_again_and_again_chooses_the_same_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    def command(storage: str) -> list[str]:
        where = ["--set", f"storage={tmp_path / storage}", "--set", "seeds=[42, 44]"]
        return [*RUN, "smoke.yaml", "--set", SEARCH, *where]

    assert subprocess.run(command("undisturbed"), stdout=subprocess.DEVNULL, check=False).returncode == 0
    stores = [Store(str(tmp_path / name / "smoke")) for name in ("undisturbed", "killed")]
    draw, kills = random.Random(0), 0
    while kill_once(command("killed"), stores[1], draw):
        kills += 1
    assert kills >= LEAST_KILLS
    choices = [{path: store.read(path) for path in store.listing("choices")} for store in stores]
    assert choices[0] == choices[1]
    assert len(choices[0]) == 2 * 2
    assert artifacts(stores[0]) == artifacts(stores[1])


def kill_once(command: list[str], store: Store, draw: random.Random) -> list[int]:
    """Start `command` and kill it with all it started, some moments after it has committed some keys more; the killed
    processes, none if it came to its end before. Times of a whole run would say little: the cores are never alike.
    """
    enough, moments = len(store.committed()) + draw.randint(1, 4), draw.uniform(0.0, 1.0)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(store.committed()) < enough:
        time.sleep(0.05)
    try:
        assert process.wait(timeout=moments) == 0
    except subprocess.TimeoutExpired:
        killed = kill_everything(process)
        deadline = time.monotonic() + 30.0  # on busy cores the kernel takes its time to end them
        while left := [pid for pid in killed if alive(pid)]:
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
        return killed
    return []
