"""The main door, end to end on a real embedded Ray: the quickstart's tiny variant on real weights and images."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import s3fs
from click.testing import CliRunner

from lion_ray import backbones, config, job, pipeline
from lion_ray.cli import commands
from lion_ray.experiments import expand
from lion_ray.store import Store
from lion_ray.sweep import driver
from tests.support.small_runs import artifacts

SHIPPED = sorted((Path(__file__).parent.parent.parent / "pipelines").glob("*.yaml"))
COLUMNS = {
    "study", "dataset", "backbone", "method", "seed", "round", "density",
    "num_params", "num_params_without_classifier", "val_accuracy", "test_accuracy", "config",
}  # fmt: skip


def table(storage: Path | str, study: str = "smoke") -> list[dict[str, object]]:
    payload = Store(f"{storage}/{study}").read("results.parquet")
    assert payload is not None
    rows: list[dict[str, object]] = pq.read_table(io.BytesIO(payload)).to_pylist()
    return rows


@pytest.mark.usefixtures("embedded_ray")
def test_the_quickstarts_tiny_variant_runs_resumes_and_extends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["smoke.yaml", "--set", f"storage={tmp_path}"]
    assert pipeline.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "round 2/2  epoch 2/2" in printed
    assert "\x1b" not in printed
    assert printed.rstrip().endswith("results.parquet")

    rows = table(tmp_path)
    assert set(rows[0]) >= COLUMNS
    assert len(rows) == 2 * (1 + 3)
    assert [row["density"] for row in rows if row["method"] == "lion"][:3] == pytest.approx([1, 0.5, 0.25], abs=1e-4)
    assert all(json.loads(str(row["config"]))["train"]["epochs"] == 2 for row in rows)

    before = artifacts(Store(f"{tmp_path}/smoke"))
    assert pipeline.main(arguments) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert pipeline.main([*arguments, "--set", "lottery.rounds=4"]) == 0
    assert "rounds 3/4" in capsys.readouterr().out
    after = artifacts(Store(f"{tmp_path}/smoke"))
    assert {key: after[key] for key in before} == before
    assert len(table(tmp_path)) == 2 * (1 + 4)
    assert not (tmp_path / "smoke" / "ray").exists()
    page = (tmp_path / "smoke" / "report" / "report.html").read_text()
    assert "complete" in page


@pytest.mark.usefixtures("embedded_ray")
def test_a_study_runs_and_resumes_on_s3(study_file: Path, s3_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [f"storage={s3_url}/prefix", "methods=[linear]", "train.epochs=1"]
    arguments = [str(study_file), *(part for each in overrides for part in ("--set", each))]
    assert pipeline.main(arguments) == 0
    assert (
        len(Store(f"{s3_url}/prefix/tiny").committed()) == 4
    )  # a start, a round, the backbone's weights and what they are
    capsys.readouterr()
    assert pipeline.main(arguments) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_storage_that_cannot_be_written_is_one_line_and_exit_status_3(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert pipeline.main([str(study_file), "--set", f"storage={tmp_path}/file"]) == 3
    captured = capsys.readouterr()
    assert captured.err.startswith("storage: ")
    assert captured.err.count("\n") == 1


def test_storage_without_credentials_is_one_line_and_exit_status_3(
    study_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setattr(s3fs.S3FileSystem, "cachable", False)
    assert pipeline.main([str(study_file), "--set", "storage=s3://bucket/x", "--dry-run"]) == 3
    captured = capsys.readouterr()
    assert "NoCredentialsError" in captured.err
    assert captured.err.count("\n") == 1


def test_a_sweep_that_tune_ended_early_says_how_to_go_on(
    study_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lion_ray.sweep.run.run_sweep", lambda *_, **__: {})  # Ctrl-C: nothing failed, nothing is done
    assert pipeline.main([str(study_file)]) == 130
    captured = capsys.readouterr()
    assert "UNFINISHED mnist" in captured.out
    assert "the same command goes on" in captured.err


@pytest.mark.usefixtures("embedded_ray")
def test_results_in_memory_come_back_to_the_process_that_started_the_sweep(study_file: Path, tmp_path: Path) -> None:
    arguments = [str(study_file), "--set", f"storage=memory://{tmp_path.name}", "--set", "lottery.rounds=1"]
    assert pipeline.main(arguments) == 0
    store = Store(f"memory://{tmp_path.name}/tiny")
    assert len(store.committed()) == 4 + 2  # a start and a round of each method, and the backbone's
    assert store.read("results.parquet")


def test_a_dry_run_starts_nothing(study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main([str(study_file), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "2 experiments, 4 rounds at most" in printed
    assert "rounds 0/3" in printed
    assert "needs 1 worker with 1 CPU" in printed
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.epochz=1", "train.epochz: unknown key"),
        ("datasets=[mnits]", "did you mean 'mnist'?"),
        ("methods=[loin]", "did you mean 'lion'?"),
        ("lottery={rewind: {epoch: 2}}", "epoch 2 leaves nothing to retrain"),
        ("lottery={controls: [reinit], rounds: 1}", "rounds: 1 has none"),
        ("train.robust={tau: 0.5, shrinkage: 0.1}", "'linear' has none"),
        ("backbone.name=resnet81", "did you mean"),
        ("storage=nope://x", "storage: 'nope://x' cannot be used"),
        ("datasets=[{name: mnist, num_train: 99999}]", "mnist"),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, says: str
) -> None:
    assert pipeline.main([str(study_file), "--set", override]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "results").exists()


def test_more_than_the_cluster_has_is_refused(
    embedded_ray: None, study_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipeline.main([str(study_file), "--set", "resources.cpus=4096"]) == 2
    assert "one experiment needs 1 worker with 4096 CPU; the cluster has room for 0" in capsys.readouterr().err


@pytest.mark.usefixtures("embedded_ray")
def test_one_dataset_at_two_sizes_is_two_datasets(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = [f"{{name: mnist, num_train: {size}, num_val: 20, num_test: 20}}" for size in (20, 200)]
    overrides = [f"datasets=[{', '.join(sizes)}]", "methods=[linear]", "train.epochs=1"]
    assert pipeline.main([str(study_file), *(part for each in overrides for part in ("--set", each))]) == 0
    histories = [json.loads(str(row["history"])) for row in table(tmp_path / "results", "tiny")]
    printed = capsys.readouterr().out
    for size, history in zip((20, 200), histories, strict=True):
        assert f"\nmnist(num_train={size}, num_val=20, num_test=20)\n" in printed
        correct = history[0]["train_accuracy"] * size
        assert correct == pytest.approx(round(correct))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_diverging_experiment_fails_once_with_its_reason(
    embedded_ray: None, study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    overrides = [f"resources.workers={workers}", "train.optimizer=sgd", "train.lr=1e30", "methods=[lion]"]
    assert pipeline.main([str(study_file), *(part for each in overrides for part in ("--set", each))]) == 1
    printed = capsys.readouterr().out
    assert "FAILED mnist-tf_efficientnet_lite0-lion" in printed
    assert "lower train.lr" in printed
    CliRunner().invoke(commands.main, ["report", f"{tmp_path}/results/tiny", "--to", str(tmp_path)])
    assert "lower train.lr" in (tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("embedded_ray")
def test_a_sweep_survives_ray_tunes_own_falls_and_goes_on_from_the_store(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lion_ray.sweep import run

    whole, falls, asked = run._tune, iter([True, True, False]), []

    def falls_twice(order: Any, *others: Any) -> Any:
        asked.append(order.is_over)
        if next(falls):
            raise RuntimeError("Caught unexpected exception: 1 worker was killed: out of memory\nmuch more")
        return whole(order, *others)

    monkeypatch.setattr(run, "_tune", falls_twice)
    assert pipeline.main([str(study_file), "--set", "train.epochs=1", "--set", "methods=[linear]"]) == 0
    assert asked == [False, False, False]
    printed = capsys.readouterr().out
    assert printed.count("Ray Tune fell over and is started again: Caught unexpected exception: 1 worker") == 2
    assert len(table(tmp_path / "results", "tiny")) == 1


def test_a_bare_name_is_looked_up_among_the_shipped_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert driver.find_study("quickstart.yaml").is_file()
    with pytest.raises(config.StudyError, match=r"did you mean 'quickstart\.yaml'"):
        driver.find_study("quikstart.yaml")


@pytest.mark.filterwarnings("ignore:datasets.animal_mnist")  # 1 to 3 of 1000 images of test are in train, which is so
@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.name)
def test_every_shipped_study_loads_and_says_how_to_run_it(file: Path) -> None:
    study = config.load(file)
    if study.data.root is None:  # the others need data that is not here: see test_shipped_studies
        assert expand(study)
    assert file.read_text().startswith(f"# python -m lion_ray.pipeline pipelines/{file.name}\n")
    assert study.study == file.stem


def test_planning_a_study_that_has_run_imports_neither_ray_nor_timm(study_file: Path) -> None:
    study = config.load(study_file)
    store = driver.open_store(study, source="tiny")
    resolved = backbones.resolve(study.backbone, store)
    backbones.stage(resolved, store)
    driver._check_methods(study, resolved, store, source="tiny")  # a resume tries nothing again
    code = """if True:
        import sys
        from lion_ray import pipeline
        status = pipeline.main([sys.argv[1], "--dry-run"])
        sys.exit(status or bool({"ray", "timm"} & sys.modules.keys()))
    """
    assert subprocess.run([sys.executable, "-c", code, str(study_file)], check=False).returncode == 0


def test_a_ray_that_does_not_start_is_one_line_and_exit_status_1(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def starves(*_: object, **__: object) -> None:
        raise job.StartError("Ray did not start\non this machine")

    monkeypatch.setattr("lion_ray.sweep.run.run_sweep", starves)
    assert pipeline.main([str(study_file)]) == 1
    assert capsys.readouterr().err == "Ray did not start on this machine\n"
