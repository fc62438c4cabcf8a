"""Methods are tried outside the driver: in a child that ends with it, or as one task of a cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from lion_ray import backbones, config, pipeline
from lion_ray.config import BackboneConfig, MethodConfig
from lion_ray.methods import Outcome
from lion_ray.store import Store, layout
from lion_ray.sweep import cluster, driver, method_trials

ROOT = Path(__file__).parent.parent.parent
ABORTS = """if True:
    import os, sys
    sys.stdin.readline()
    print('{"key": "backbone", "problem": null}')
    print('{"key": "methods.0", "problem": null}', flush=True)
    print("terminate called after throwing an instance of 'c10::Error'", file=sys.stderr, flush=True)
    os.abort()
"""


def test_a_model_that_aborts_takes_no_driver_with_it(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def aborting(errors: IO[bytes]) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([sys.executable, "-c", ABORTS], stdin=pipe, stdout=pipe, stderr=errors, text=True)

    monkeypatch.setattr(method_trials, "_child", aborting)
    assert pipeline.main([str(study_file), "--dry-run"]) == 2
    ends = "'lion' on tf_efficientnet_lite0 ends the process that tries it on one image"
    why = "SIGABRT (terminate called after throwing an instance of 'c10::Error')"
    assert capsys.readouterr().err == f"{study_file}: methods.1: {ends}: {why}\n"


@pytest.mark.usefixtures("embedded_ray")
def test_where_ray_is_up_methods_are_tried_as_a_task_and_not_in_the_driver(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def computes(*_: object) -> None:
        raise AssertionError("in the driver")

    monkeypatch.setattr("lion_ray.backbones.specimen", computes)
    monkeypatch.setattr(method_trials, "_child", computes)
    study = config.load(study_file)
    store = driver.open_store(study, source="tiny")
    driver._check_methods(study, backbones.resolve(study.backbone, store), store, source="tiny")
    assert len(list(store.listing(layout.CHECKS))) == 2

    assert pipeline.main([str(study_file), "--set", "methods=[linear, lora]", "--set", "study=other"]) == 2
    said = capsys.readouterr()
    told = "'lora' does not apply to tf_efficientnet_lite0: lora changes linear layers of attention and MLPs"
    assert said.err == f"{study_file}: methods.1: {told}, and it has none; use ssf or partial\n"
    assert not said.out
    assert Store(f"{study.storage}/other").read(layout.REQUEST) is None


@pytest.mark.usefixtures("embedded_ray")
def test_a_task_that_aborts_is_a_problem_of_the_trial_it_was_at() -> None:
    """It has the cores of a worker, so it goes where workers go: no head without CPUs computes."""

    def aborts() -> Iterator[Outcome]:
        import ray

        yield Outcome(key=str(ray.get_runtime_context().get_assigned_resources()["CPU"]))
        os.abort()

    items = cluster.stream(aborts, cpus=3, waiting="")
    assert next(items).key == "3.0"
    with pytest.raises(cluster.Lost, match="worker died"):
        next(items)


def test_the_child_imports_nothing_of_the_folder_in_which_it_is_started(study_file: Path, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("x = 1")
    (tmp_path / "timm.py").write_text("raise SystemExit('not yours')")
    code = "import sys; from lion_ray.cli import main; sys.argv[1:] = ['run', sys.argv[1], '--dry-run']; main()"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = [{str(ROOT)!r}]; {code}", str(study_file)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def only_outcome() -> Outcome:
    """Of a study with one method."""
    backbone, methods = BackboneConfig(name="test_resnet", weights="random"), {0: MethodConfig(name="linear")}
    (outcome,) = method_trials._named(method_trials._in_a_child(backbone, methods), backbone, methods)
    return outcome


def test_a_child_that_does_not_answer_is_given_up_and_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(method_trials, "SAY_SECONDS", 0.1)
    monkeypatch.setattr(method_trials, "GIVE_UP_SECONDS", 0.5)
    monkeypatch.setattr(method_trials, "START", "import time; time.sleep(600)")
    outcome = only_outcome()
    assert outcome.key == "backbone"
    assert outcome.problem is not None
    assert "ends the process that tries it on one image: no answer within" in outcome.problem
    assert "trying the methods of the study on test_resnet" in capsys.readouterr().out


def test_a_child_that_leaves_early_has_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_trials, "START", "import sys; sys.exit(0)")
    outcome = only_outcome()
    assert outcome.problem is not None
    assert "it left before it was done" in outcome.problem


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_child_outlives_the_command_that_started_it(study_file: Path, number: signal.Signals) -> None:
    """Also one that hangs where no Python code of its own can run."""
    hang = (
        "import os, signal, sys; print(os.getpid(), file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    )
    code = (
        "import sys; from lion_ray import pipeline; from lion_ray.sweep import method_trials;"
        f"start = method_trials.START; method_trials.START = start.partition('from lion_ray')[0] + {hang!r};"
        "method_trials._child.__globals__['tempfile'].TemporaryFile = lambda: sys.stderr.buffer;"
        "from lion_ray import console; console.prepare(resumes=True); sys.exit(pipeline.main([sys.argv[1]]))"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", code, str(study_file)], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert driver.stderr is not None
    child = int(next(line for line in driver.stderr if line.strip().isdigit()))
    driver.send_signal(number)
    driver.wait(timeout=30)
    driver.stderr.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
