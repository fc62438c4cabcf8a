"""Scratch folders: gone at the end, however the process that made them ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lion_ray.scratch import scratch

HOLD = "from lion_ray.scratch import scratch\nwith scratch('tune') as folder: print(folder, flush=True), input()"


def test_what_a_killed_process_left_is_deleted_at_the_next_start_and_nothing_of_a_living_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    others = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = (other.stdout.readline().strip() for other in others if other.stdout)
    others[0].send_signal(signal.SIGKILL)
    others[0].wait()
    assert {str(path) for path in tmp_path.iterdir()} == {killed, living}
    with scratch("train") as own:
        assert {str(path) for path in tmp_path.iterdir()} == {living, own}
    others[1].communicate("\n")
    others[0].communicate()
    assert list(tmp_path.iterdir()) == []
