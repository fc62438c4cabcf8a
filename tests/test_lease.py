"""One driver per study: who died blocks nobody, who was paused stops, who came second does not corrupt."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lion_ray.store import Lease, Store, forget_dead
from lion_ray.store.lease import PATH, StudyInUseError


@pytest.mark.parametrize("where", ["local", "s3"])
def test_a_driver_that_died_does_not_block(where: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    store = Store(str(tmp_path) if where == "local" else request.getfixturevalue("s3_url") + "/study")
    code = (
        "import sys; from lion_ray.store import *; Lease(Store(sys.argv[1])).__enter__(); print(1, flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, store.url], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "1\n"
    with pytest.raises(StudyInUseError), Lease(store, patience=8):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    process.stdin.close()
    began = time.monotonic()
    with Lease(store):
        assert time.monotonic() - began < 2  # the same machine: its process is known to be gone
    assert store.read(PATH) is None


def test_a_lease_from_another_machine_is_free_when_it_no_longer_changes(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write(PATH, b'{"id": "x", "host": "elsewhere", "pid": 1, "born": "y", "count": 7}')
    began = time.monotonic()
    with Lease(store, patience=0.5):
        assert 0.5 <= time.monotonic() - began < 5
    store.write(PATH, b"damaged")
    with Lease(store, patience=0.5):
        pass


def test_of_two_that_start_at_once_the_last_to_write_goes_on(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store, beat=60) as first:
        first.check()
        store.write(PATH, b'{"id": "other", "host": "elsewhere", "pid": 1}')  # saw nothing, as the first did
        with pytest.raises(StudyInUseError, match="process 1 on elsewhere"):
            first.check()
        assert first.is_lost
    assert store.read(PATH) is not None, "the other's is not taken away"


PAUSED = """
import sys, time
from lion_ray.store import Lease, Store
with Lease(Store(sys.argv[1]), beat=1.0) as lease:
    print("holds it", flush=True)
    while not lease.is_lost:
        time.sleep(0.02)
    print("lost it", flush=True)
"""


def test_a_driver_that_is_paused_for_too_long_stops_when_it_goes_on(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    command = [sys.executable, "-c", PAUSED, store.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as paused:
        assert paused.stdout is not None
        assert paused.stdout.readline() == "holds it\n"
        paused.send_signal(signal.SIGSTOP)
        with Lease(store, beat=60, patience=1.5) as second:
            paused.send_signal(signal.SIGCONT)
            assert paused.stdout.readline() == "lost it\n"
            assert paused.wait() == 0
            second.check()
    assert store.read(PATH) is None


def test_a_driver_that_ends_before_it_sees_that_it_was_replaced_leaves_the_others_lease(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store, beat=60):
        store.write(PATH, b'{"id": "other", "host": "elsewhere", "pid": 1}')
    assert store.read(PATH) is not None


def test_what_a_driver_left_that_was_killed_behind_its_last_round_is_forgotten(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    killed = subprocess.Popen([sys.executable, "-c", PAUSED, store.url], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "holds it\n"
    forget_dead(store)
    assert store.read(PATH) is not None
    killed.kill()
    killed.communicate()
    forget_dead(store)
    assert store.read(PATH) is None
