"""The main door on a storage that fails, twice at once, and with a secret that must be nowhere afterwards."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import s3fs

from lion_ray import config, pipeline
from lion_ray.experiments import expand
from lion_ray.store import Lease, Store, redacted
from lion_ray.store.layout import DRIVER
from tests.conftest import SECRET
from tests.support.proxy import FaultyProxy, in_front_of
from tests.support.small_runs import artifacts

SMALL = ["methods=[{name: lion, input: false}]", "train.epochs=1", "lottery.rounds=2"]


def main(study_file: Path, *overrides: str) -> int:
    return pipeline.main([str(study_file), *(part for each in [*SMALL, *overrides] for part in ("--set", each))])


@pytest.fixture
def proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """In front of the S3 server; `endpoint` names it for the driver and for trials that are started from now on."""
    with in_front_of(s3_server, monkeypatch) as server:
        yield server


def through(proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials get the proxy too: they inherit their environment from Ray, which was started before."""
    from lion_ray.sweep import run as sweep_run
    from lion_ray.sweep import trainable

    url, run = proxy.url, trainable.train_interval

    def train_interval(config: object, **given: object) -> None:
        os.environ["AWS_ENDPOINT_URL"] = url
        s3fs.S3FileSystem.cachable = False
        run(config, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(sweep_run, "train_interval", train_interval)


@pytest.mark.usefixtures("embedded_ray")
@pytest.mark.parametrize("seconds", [3.0, pytest.param(60.0, marks=pytest.mark.slow)])
def test_an_outage_in_the_middle_of_a_sweep_costs_time_and_is_said(
    study_file: Path,
    s3_url: str,
    proxy: FaultyProxy,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    seconds: float,
) -> None:
    through(proxy, monkeypatch)
    indexed: list[str] = []
    monkeypatch.setattr("lion_ray.sweep.run.renew", lambda _, name: indexed.append(name))
    seen = threading.Event()

    def first_round(method: str, path: str) -> bool:
        if method == "PUT" and "/round-0/" in path and not seen.is_set():
            seen.set()
            threading.Timer(seconds, proxy.heal).start()
        return seen.is_set()

    proxy.inject("reset", wanted=first_round)
    assert main(study_file, f"storage={s3_url}") == 0
    assert seen.is_set()
    assert len(indexed) == 1
    printed = capfd.readouterr()
    assert re.search(r"storage: \S+/experiments/\S+ does not answer, retrying for [45]:\d\d more", printed.out)
    assert "FAILED" not in printed.out
    assert len([key for key in Store(f"{s3_url}/tiny").committed() if key.startswith("experiments/")]) == 3


@pytest.mark.usefixtures("embedded_ray")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_storage_that_refuses_in_the_middle_is_one_line_and_status_3_and_the_run_can_be_repeated(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    chosen = expand(config.load(study_file, SMALL))[0]
    store = Store(str(tmp_path / "results" / "tiny"))
    in_the_way = Path(store.path(chosen.key("round-1")))
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where a folder has to be")
    assert main(study_file, f"resources.workers={workers}") == 3
    captured = capsys.readouterr()
    assert captured.err.startswith("storage: ")
    assert captured.err.count("\n") == 1
    assert str(in_the_way) in captured.err
    before = artifacts(store)
    done = {key for key in store.committed() if key.startswith("experiments/")}
    assert done == {chosen.key("start"), chosen.key("round-0")}
    in_the_way.unlink()
    assert main(study_file, f"resources.workers={workers}") == 0
    after = artifacts(store)
    assert {path: after[path] for path in before} == before
    assert chosen.key("round-1") in store.committed()


@pytest.mark.usefixtures("embedded_ray")
def test_a_secret_is_nowhere_after_a_run_on_s3(
    study_file: Path, s3_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = "weights=https://user:" + SECRET + "@host/x?token=" + SECRET
    assert main(study_file, f"storage={s3_url}") == 0
    assert pipeline.main([str(study_file), "--set", f"backbone.{weights}"]) == 2
    assert pipeline.main([str(study_file), "--set", f"storage=s3://key:{SECRET}@bucket/x"]) == 2
    printed = capfd.readouterr()
    assert SECRET not in printed.out + printed.err
    store = Store(f"{s3_url}/tiny")
    found = [path for path in store.paths() if SECRET.encode() in (store.read(path) or b"")]
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    files = [file for file in session.rglob("*") if file.is_file()]
    assert len(files) > 10
    found += [str(file) for file in files if SECRET.encode() in file.read_bytes()]
    assert found == []


def test_a_second_driver_says_so_and_stops(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Lease(Store(str(tmp_path / "results" / "tiny")), beat=0.1):
        began = time.monotonic()
        assert main(study_file) == 3
    assert time.monotonic() - began < 10
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"tiny is in use by another driver, process {os.getpid()} on " in error
    assert not (tmp_path / "results" / "tiny" / DRIVER).exists()


def test_what_is_kept_of_an_experiment_holds_no_secret_of_its_urls(study_file: Path) -> None:
    chosen = expand(config.load(study_file, SMALL))[0]
    dataset = chosen.dataset.model_copy(update={"url": f"https://host/pets.parquet?sig={SECRET}"})
    backbone = chosen.backbone.model_copy(update={"weights": f"https://user:{SECRET}@host/w.pth"})
    kept = dataclasses.replace(chosen, dataset=dataset, backbone=backbone).config()
    assert SECRET not in json.dumps(kept)
    assert kept["dataset"]["url"] == "https://host/pets.parquet?sig=***"
    assert chosen.config()["dataset"]["url"] is None


def test_urls_in_a_study_are_told_without_their_credentials() -> None:
    assert redacted("backbone.weights: 'https://u:p@h/w?sig=1' is missing") == (
        "backbone.weights: 'https://***@h/w?sig=***' is missing"
    )
