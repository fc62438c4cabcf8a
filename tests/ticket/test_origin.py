"""Where a ticket's backbone weights are read from, and what of a ticket reaches a terminal."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save

from lion_ray import ticket
from lion_ray.backbones.frozen import original
from lion_ray.cli import commands
from lion_ray.config import BackboneConfig
from lion_ray.store import Store
from lion_ray.ticket import prediction
from tests.support.small_sets import png

GONE = "https://nowhere.invalid/weights.safetensors"


@pytest.fixture
def study(every_method: Mapping[str, Store], tmp_path: Path) -> Path:
    """A study of one ticket, whose weights come from a place that is gone."""
    source = every_method["bias"]
    path = next(path for path in source.paths() if path.endswith("round-0/ticket.safetensors"))
    opened = ticket.open_ticket(f"{source.url}/{path}")
    section = {**opened.header.backbone, "weights": GONE}
    file = tmp_path / "study" / path
    file.parent.mkdir(parents=True)
    classes = ("a\x1b[31m\nb", *opened.header.classes[1:])
    header = opened.header.model_copy(update={"backbone": section, "classes": classes})
    file.write_bytes(ticket.pack(dataclasses.replace(opened, header=header)))
    return file


def keep_weights(file: Path) -> None:
    """As a driver leaves them in the study's folder."""
    header = ticket.open_ticket(str(file)).header
    model = original(BackboneConfig.model_validate({**header.backbone, "weights": "random"}))
    tensors = {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}
    Store(str(file.parents[3])).commit(f"weights/{header.weights_digest}", {"weights.safetensors": save(tensors)})


def test_the_studys_own_copy_is_opened_and_no_other_place(study: Path, tmp_path: Path) -> None:
    with pytest.raises(ticket.TicketError, match="which is opened only if you say so"):
        ticket.load_ticket(str(study))
    keep_weights(study)
    opened = ticket.open_ticket(str(study))
    assert ticket.verify(opened, ticket.load_ticket(str(study))).is_exact
    shutil.copy(study, tmp_path / "alone.safetensors")
    with pytest.raises(ticket.TicketError, match="which is opened only if you say so"):
        ticket.load_ticket(str(tmp_path / "alone.safetensors"))


def test_a_local_place_is_opened_for_a_ticket_in_its_study_alone(study: Path, tmp_path: Path) -> None:
    opened = ticket.open_ticket(str(study))
    place = tmp_path / "w.safetensors"
    place.write_bytes(b"\0" * 100)
    header = opened.header.model_copy(update={"backbone": {**opened.header.backbone, "weights": str(place)}})
    for file, says in ((study, "cannot be used"), (tmp_path / "alone.safetensors", "opened only if you say so")):
        file.write_bytes(ticket.pack(dataclasses.replace(opened, header=header)))
        with pytest.raises(ticket.TicketError, match=says):
            ticket.load_ticket(str(file))


def test_weights_of_a_size_that_no_checkpoint_has_are_not_read(study: Path, tmp_path: Path) -> None:
    opened, place = ticket.open_ticket(str(study)), tmp_path / "w.safetensors"
    with place.open("wb") as file:
        file.truncate(2**40)  # takes no room
    header = opened.header.model_copy(update={"backbone": {**opened.header.backbone, "weights": str(place)}})
    study.write_bytes(ticket.pack(dataclasses.replace(opened, header=header)))
    with pytest.raises(
        ticket.TicketError, match="1,099,511,627,776 bytes long, and weights of test_resnet take at most"
    ):
        ticket.load_ticket(str(study))


def test_class_names_do_nothing_to_a_terminal(study: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    printed = CliRunner().invoke(
        commands.main, ["predict", str(study), str(tmp_path / "a.png"), "--top", "10", "--weights", "random"]
    )
    assert printed.exit_code == 0, printed.output
    assert "\ta\\x1b[31m\\nb\t" in printed.output
    assert printed.output.count("\n") == 1


def test_an_answer_that_is_not_finite_is_refused(study: Path) -> None:
    model = ticket.load_ticket(str(study), weights="random")
    with torch.no_grad():
        model.head.classifier.weight.fill_(3e38)
        model.head.classifier.bias.fill_(3e38)
    with pytest.raises(ValueError, match="numbers that are not finite"):
        list(prediction.predict(model, np.full((32, 32, 3), 255, np.uint8)))
