"""`RAY_ADDRESS`, and what a dry run says of the cluster: one line, at once, before Ray is asked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from lion_ray import pipeline
from lion_ray.config import StudyError
from lion_ray.sweep import address


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@pytest.mark.parametrize("empty", ["", " ", "local"])
def test_no_address_starts_a_ray_in_here(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", empty)
    assert address.cluster_address() is None


def test_where_jobs_are_submitted_no_driver_joins(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    assert pipeline.main([str(study_file)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("RAY_ADDRESS: http://127.0.0.1:8265: is where jobs are submitted: `ray job submit")
    assert told.err.count("\n") == 1


def test_a_dead_address_is_said_at_once_and_not_waited_for_long(capsys: pytest.CaptureFixture[str]) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with pytest.raises(StudyError, match=f"RAY_ADDRESS: {dead}: no Ray cluster answers there"):
        address.wait_for_answer(dead, seconds=1.5)
    assert capsys.readouterr().out == f"RAY_ADDRESS: {dead} does not answer (Connection refused), trying for 2 s\n"
    assert address.PATIENCE_SECONDS <= 30


def test_an_address_that_listens_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address.wait_for_answer(f"ray://127.0.0.1:{listener.getsockname()[1]}", seconds=0)
    address.wait_for_answer("auto", seconds=0)
    with pytest.raises(StudyError, match="is no HOST:PORT"):
        address.wait_for_answer("127.0.0.1:port")


def test_a_dry_run_says_what_is_missing_here(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert pipeline.main([str(study_file), "--dry-run", "--set", "resources.cpus=4096"]) == 0
    assert "WARNING" in (told := capsys.readouterr().out)
    assert "one experiment needs 1 worker with 4096 CPU; the cluster has room for 0" in told
    assert pipeline.main([str(study_file), "--dry-run"]) == 0
    assert "WARNING" not in capsys.readouterr().out
