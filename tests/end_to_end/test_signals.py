"""A command that is ended at any instant says one line, has the right exit status, and leaves no process behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from lion_ray import console
from tests.support.jobs import environments

PIPELINE = [sys.executable, "-m", "lion_ray.pipeline"]
SMALL = ["--set", "methods=[linear]", "--set", "train.epochs=1", "--set", "lottery.rounds=1"]
AGAIN = "the same command goes on where this one ended\n"
SAYS = {signal.SIGINT: f"interrupted: {AGAIN}", signal.SIGTERM: f"stopped: {AGAIN}"}
STATUS = {signal.SIGINT: console.INTERRUPTED, signal.SIGTERM: console.STOPPED}
INTERPRETER_SECONDS = 0.15  # Python's own start; its end by Ctrl-C is not ours
GONE_SECONDS = 30.0


def started(study_file: Path, tag: str) -> subprocess.Popen[str]:
    environment = os.environ | {"LION_RAY_TEST_TAG": tag, "PYTHONUNBUFFERED": ""}
    environment.pop("RAY_ADDRESS", None)
    command = [*PIPELINE, str(study_file), *SMALL]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def ended_by(number: signal.Signals, run: subprocess.Popen[str], tag: str) -> str:
    """What is wrong with the end of `run` by that signal; empty if nothing is. A terminal sends it to the group."""
    with run:
        os.killpg(run.pid, number)
        out, err = run.communicate(timeout=60)
    if run.returncode == 0 and "status" not in out:
        return ""  # it was over before
    deadline = time.monotonic() + GONE_SECONDS
    while (left := environments(tag)) and time.monotonic() < deadline:
        time.sleep(0.1)
    wrong = [] if (run.returncode, err) == (STATUS[number], SAYS[number]) else [f"{run.returncode}: {err}"]
    return "\n".join([*wrong, *left.values()])


@pytest.mark.parametrize(("number", "seconds"), [(signal.SIGINT, 0.3), (signal.SIGTERM, 1.0)])
def test_a_signal_while_libraries_are_imported_is_one_line(
    study_file: Path, number: signal.Signals, seconds: float
) -> None:
    tag = uuid.uuid4().hex
    run = started(study_file, tag)
    time.sleep(seconds)
    assert ended_by(number, run, tag) == ""


def test_ctrl_c_while_ray_starts_is_one_line_and_leaves_no_process(study_file: Path) -> None:
    tag = uuid.uuid4().hex
    run = started(study_file, tag)
    while not any("gcs_server" in command for command in environments(tag).values()):
        assert run.poll() is None
        time.sleep(0.05)
    assert ended_by(signal.SIGINT, run, tag) == ""


def test_a_reader_that_leaves_ends_the_command_with_its_own_status() -> None:
    with subprocess.Popen([*PIPELINE, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        run.stdout.close()
        assert run.stderr is not None
        assert run.stderr.read() == f"nobody reads the output any more: {AGAIN}"
    assert run.returncode == console.UNREAD


def test_a_stream_that_cannot_say_it_says_it_escaped() -> None:
    code = "from lion_ray import console; console.prepare(); print('sond\\xe9')"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "ascii"}, capture_output=True, check=False)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"sond\\xe9\n", b"")


def test_a_user_whom_nobody_knows_has_a_home_of_this_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unknown(_: int) -> None:
        raise KeyError("no such user")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.delenv("HOME")
    console._set_home()
    assert Path.home() == tmp_path / f"lion_ray-{os.getuid()}" / "home"
    assert Path.home().stat().st_mode & 0o777 == 0o700


@pytest.mark.slow
def test_a_campaign_of_signals_at_any_instant_of_the_start(study_file: Path) -> None:
    """Prints its numbers: `pytest -m slow -s tests/end_to_end/test_signals.py`."""
    draw, began = random.Random(0), time.monotonic()
    whole = started(study_file, "whole")
    with whole:
        assert whole.stdout is not None
        while "epoch" not in whole.stdout.readline():
            assert whole.poll() is None
        seconds = time.monotonic() - began
        whole.terminate()
    wrong = []
    for number in [signal.SIGINT] * 40 + [signal.SIGTERM] * 15:
        instant, tag = draw.uniform(INTERPRETER_SECONDS, seconds), uuid.uuid4().hex
        run = started(study_file, tag)
        time.sleep(instant)
        fault = ended_by(number, run, tag)
        wrong += [f"{number.name} after {instant:.2f} s: {fault}"] * bool(fault)
    print(f"{len(wrong)} of 55 ends are wrong; instants up to {seconds:.1f} s", *wrong, sep="\n")
    assert not wrong
    finished = subprocess.run([*PIPELINE, str(study_file), *SMALL, "--verify"], capture_output=True, check=False)
    assert finished.returncode == 0
