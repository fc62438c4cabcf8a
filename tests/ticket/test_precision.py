"""A ticket is used in the precision in which it was evaluated, so its accuracies are those of its predictions."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import lion_ray
from lion_ray import ticket
from lion_ray.cli import commands
from lion_ray.store import Store
from tests.conftest import SMALL_CONVNET
from tests.support.small_runs import decoded, experiment, run

METHODS = ["lion", "{name: lion, input: false, output: {source: stages}}", "linear"]  # the features of two are fixed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_the_measured_test_accuracy_is_that_of_the_predictions(
    study_file: Path, tmp_path: Path, method: str, precision: str
) -> None:
    settings = [f"train.precision={precision}", "train.lr=0.01", "lottery.rounds=1", f"backbone={SMALL_CONVNET}"]
    chosen = experiment(study_file, f"methods=[{method}]", *settings)
    finished = run(chosen, Store(str(tmp_path / "store")))[-1]
    url = f"{tmp_path}/store/{chosen.key('round-0')}/ticket.safetensors"
    opened, test = ticket.open_ticket(url), decoded(chosen).test
    assert test is not None
    assert opened.header.numeric["precision"] == precision
    assert ticket.verify(opened, ticket.model_of(opened)).is_exact
    model = lion_ray.load_ticket(url)
    assert model.precision == precision
    labels = [model.classes[label] for label in test.labels]
    predicted = [found.label for found in lion_ray.predict(model, [*test.images])]
    assert np.mean(np.array(predicted) == np.array(labels)) == finished.metrics.test_accuracy
    other = lion_ray.load_ticket(url, precision="bf16" if precision == "fp32" else "fp32")
    difference = ticket.measure(other) - ticket.measure(model)
    assert 0 < float(difference.abs().max()) < 0.1 * float(ticket.measure(model).abs().max())


def test_another_precision_is_an_option_that_says_so(study_file: Path, tmp_path: Path) -> None:
    chosen = experiment(study_file, "methods=[linear]", "lottery.rounds=1", "train.precision=bf16")
    run(chosen, Store(str(tmp_path / "store")))
    url = f"{tmp_path}/store/{chosen.key('round-0')}/ticket.safetensors"
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    printed = CliRunner().invoke(commands.main, ["predict", url, str(tmp_path / "a.png"), "--precision", "fp32"])
    assert printed.exit_code == 0
    assert printed.stderr == "computing in fp32; the ticket's accuracies were measured in bf16\n"
    opened = ticket.open_ticket(url)
    assert opened.header.numeric["precision"] == "bf16"
    silent = {name: value for name, value in opened.header.numeric.items() if name != "precision"}
    header = opened.header.model_copy(update={"numeric": silent})
    assert ticket.precision_of(dataclasses.replace(opened, header=header)) == "fp32"
    header = opened.header.model_copy(update={"numeric": {"precision": "fp8"}})
    with pytest.raises(ticket.TicketError, match=r"numeric: .*precision"):
        ticket.unpack(ticket.pack(dataclasses.replace(opened, header=header)))


@pytest.mark.slow
def test_an_exported_bf16_ticket_computes_in_bf16(study_file: Path, tmp_path: Path) -> None:
    settings = ["methods=[lion]", "lottery.rounds=1", "train.precision=bf16", f"backbone={SMALL_CONVNET}"]
    chosen = experiment(study_file, *settings)
    run(chosen, Store(str(tmp_path / "store")))
    opened = ticket.open_ticket(f"{tmp_path}/store/{chosen.key('round-0')}/ticket.safetensors")
    found = ticket.export(opened, str(tmp_path / "m.pt2"))
    assert found.max_difference <= 0.05 * found.scale
    assert "bfloat16" in str(torch.export.load(str(tmp_path / "m.pt2")))
