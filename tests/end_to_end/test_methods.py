"""Rivals of LION through the main door: lottery rounds with controls and robust training, and what does not apply."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lion_ray import pipeline
from lion_ray.store import Store
from lion_ray.trial import checkpoints
from tests.conftest import SMALL_CONVNET, SMALL_VIT
from tests.support.small_runs import artifacts, experiment, run

METHODS = "methods=[bias, {name: ssf, train: {robust: {tau: 0.5, shrinkage: 0.1}}}, {name: lora, rank: 2}]"
LOTTERY = "lottery={rounds: 2, prune: 0.5, criterion: gradient_weight, rewind: {epoch: 1}, controls: [reinit]}"


def command(file: Path, *overrides: str) -> list[str]:
    return [str(file), *(part for each in (METHODS, LOTTERY, "train.epochs=3", *overrides) for part in ("--set", each))]


@pytest.mark.usefixtures("embedded_ray")
def test_rounds_of_rivals_prune_what_they_train_and_are_found_again(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(study_file, f"backbone={SMALL_VIT}")
    assert pipeline.main(arguments) == 0
    store = Store(f"{tmp_path}/results/tiny")
    rows = pq.read_table(io.BytesIO(store.read("results.parquet") or b"")).to_pylist()
    found: dict[str, list[tuple[float, int]]] = {}
    for row in sorted(rows, key=lambda row: (row["round"], row["ticket"])):
        number = row["num_params_without_classifier"]
        found.setdefault(row["method"].partition("(")[0].partition("[")[0], []).append((row["density"], number))
    width, depth, ratio = 64, 6, 3  # of test_vit and its MLPs
    ssf, lora = 2 * (depth * (7 + ratio) + 2) * width, 2 * depth * (8 + 2 * ratio) * width
    assert found == {
        "bias": [(1.0, (depth * (9 + ratio) + 3) * width)],
        "ssf": [(1.0, ssf), (0.5, ssf // 2), (0.5, ssf // 2)],
        "lora": [(1.0, lora), (0.5, lora // 2), (0.5, lora // 2)],
    }
    before = artifacts(store)
    capsys.readouterr()
    assert pipeline.main(arguments) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert artifacts(store) == before


def test_a_method_that_does_not_apply_is_one_line_and_exit_status_2(
    study_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert pipeline.main(command(study_file, "train.epochs=3")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "methods.2: 'lora' does not apply to tf_efficientnet_lite0: lora changes linear layers of attention and MLPs, "
        "and it has none; use ssf or partial"
    )


class Interrupted(Exception):
    """What ends a run from outside."""


@pytest.mark.parametrize("method", ["full", "ssf"])  # of channels_last weights, and of parametrized ones
def test_interruptions_at_every_second_epoch_cost_no_bit(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(
        checkpoints.StoreCheckpointer.__init__, "__defaults__", (0.0,)
    )  # after every epoch, however short
    whole, store = Store(str(tmp_path / "whole")), Store(str(tmp_path / "store"))
    settings = [LOTTERY, "train.epochs=3", f"backbone={SMALL_CONVNET}", f"methods=[{method}]"]
    chosen = experiment(study_file, *settings)
    epochs: list[Any] = []

    def interrupt(*event: Any) -> None:
        epochs.append(event)
        if len(epochs) % 2 == 0:
            raise Interrupted

    run(chosen, whole)
    for _ in range(7):
        with pytest.raises(Interrupted):
            run(chosen, store, interrupt)
    run(chosen, store)
    assert artifacts(store) == artifacts(whole)
