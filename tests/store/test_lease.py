"""One driver per study: who died blocks nobody, who was paused stops, who came second does not corrupt."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lion_ray.store import Lease, Store, current_driver, lease, remove_dead_lease
from lion_ray.store.layout import DRIVER
from lion_ray.store.lease import StudyInUseError


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
    assert store.read(DRIVER) is None


def test_a_lease_from_another_machine_is_free_when_it_no_longer_changes(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write(DRIVER, b'{"id": "x", "host": "elsewhere", "pid": 1, "born": "y", "count": 7}')
    began = time.monotonic()
    with Lease(store, patience=0.5):
        assert 0.5 <= time.monotonic() - began < 5
    store.write(DRIVER, b"damaged")
    with Lease(store, patience=0.5):
        pass


ANOTHER_BOOT = {"born": "00000000-another-machine/12345"}
ANOTHER_NAMESPACE = {"host": f"{socket.gethostname()} pid:[1]"}
NOT_SAID = {"born": ""}
NO_NUMBER = {"pid": "1"}


@pytest.mark.parametrize("differs", [ANOTHER_BOOT, ANOTHER_NAMESPACE, NOT_SAID, NO_NUMBER])
def test_only_where_a_process_number_means_the_same_is_a_driver_dead_for_the_lack_of_it(
    tmp_path: Path, differs: dict[str, object]
) -> None:
    store = Store(str(tmp_path))
    with Lease(store, beat=60):
        own = json.loads(store.read(DRIVER) or b"")
    ended = subprocess.Popen(["true"])
    ended.wait()
    gone = {**own, "id": "another", "pid": ended.pid}
    store.write(DRIVER, json.dumps(gone).encode())
    assert current_driver(store) is None
    store.write(DRIVER, json.dumps({**gone, **differs}).encode())
    assert current_driver(store) is not None
    remove_dead_lease(store)
    assert store.read(DRIVER) is not None


def test_a_living_driver_of_a_machine_of_the_same_name_keeps_its_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(lease, "_start_of", lambda pid: "00000000-another-machine/12345")
        living = Lease(store, beat=0.1)
    with living:
        with pytest.raises(StudyInUseError), Lease(store, patience=5):
            pass
        living.check()


def test_of_two_that_start_at_once_the_last_to_write_goes_on(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store, beat=60) as first:
        first.check()
        store.write(DRIVER, b'{"id": "other", "host": "elsewhere", "pid": 1}')  # saw nothing, as the first did
        with pytest.raises(StudyInUseError, match="process 1 on elsewhere"):
            first.check()
        assert first.is_lost
    assert store.read(DRIVER) is not None, "the other's is not taken away"


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
    assert store.read(DRIVER) is None


def test_a_driver_that_ends_before_it_sees_that_it_was_replaced_leaves_the_others_lease(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with Lease(store, beat=60):
        store.write(DRIVER, b'{"id": "other", "host": "elsewhere", "pid": 1}')
    assert store.read(DRIVER) is not None


def test_what_a_driver_left_that_was_killed_behind_its_last_round_is_forgotten(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    killed = subprocess.Popen([sys.executable, "-c", PAUSED, store.url], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "holds it\n"
    remove_dead_lease(store)
    assert store.read(DRIVER) is not None
    killed.kill()
    killed.communicate()
    remove_dead_lease(store)
    assert store.read(DRIVER) is None
