"""A ticket from a stranger: one line at every door, nothing fetched, nothing allocated, nothing solved for ever."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import resource
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load, save
from torch import Tensor

from lion_ray import ticket
from lion_ray.cli import commands
from lion_ray.store import Store
from lion_ray.ticket.format import digest_of
from tests.support.small_sets import png

Fields = dict[str, Any]
W = "head.prompt.equilibrium.cell.W"
SECONDS = 10.0
"""Far more than a refusal takes on a busy machine."""


@pytest.fixture(scope="module")
def honest(every_method: Mapping[str, Store]) -> bytes:
    store = every_method["lion"]
    path = next(path for path in store.paths() if path.endswith("round-1/ticket.safetensors"))
    payload = store.read(path)
    assert payload is not None
    return payload


def crafted(payload: bytes, change: Callable[[Fields, dict[str, Tensor]], None]) -> bytes:
    """The same ticket with other fields and tensors, and a digest that is theirs."""
    opened, tensors = ticket.unpack(payload), dict(load(payload))
    fields = opened.header.model_dump(mode="json", exclude={"digest"})
    change(fields, tensors)
    fields["digest"] = digest_of(fields, tensors)
    return save(tensors, metadata={"lion_ray": json.dumps(fields, sort_keys=True, separators=(",", ":"))})


def option(**values: Any) -> Callable[[Fields, dict[str, Tensor]], None]:
    return lambda fields, tensors: fields["method"].update(values)


def weights_at(place: str) -> Callable[[Fields, dict[str, Tensor]], None]:
    return lambda fields, tensors: fields["backbone"].update(weights=place)


def with_width(fields: Fields, tensors: dict[str, Tensor]) -> None:
    fields["method"]["output"]["width"] = 12_000


def with_negative_shape(fields: Fields, tensors: dict[str, Tensor]) -> None:
    fields["shapes"]["head.prompt.V"] = [-1, -tensors["mask/head.prompt.V"].numel() * 8]


def with_nan(fields: Fields, tensors: dict[str, Tensor]) -> None:
    tensors["dense/head.classifier.bias"] = torch.full_like(tensors["dense/head.classifier.bias"], float("nan"))


def with_a_huge_mask(fields: Fields, tensors: dict[str, Tensor]) -> None:
    fields["shapes"]["head.prompt.V"] = [2**20, 2**20]


CRAFTED: dict[str, Callable[[Fields, dict[str, Tensor]], None]] = {
    "steps": option(gamma=None, max_steps=10**9),
    "depth": option(cell="explicit", depth=10**6),
    "width": with_width,
    "negative shape": with_negative_shape,
    "not finite": with_nan,
    "huge mask": with_a_huge_mask,
    "image": lambda fields, tensors: fields["transform"].update(size=10**6),
    "threads": lambda fields, tensors: fields["numeric"].update(threads=10**6),
    "mean": lambda fields, tensors: fields["transform"].update(mean=[]),
    "address": weights_at("http://127.0.0.1:1/latest/meta-data"),
    "device": weights_at("/dev/zero"),
}


def refused(file: Path, *arguments: str) -> str:
    """The one line of a command that must refuse `file` soon and without much memory."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = CliRunner().invoke(commands.main, [*arguments[:1], str(file), *arguments[1:]])
    assert result.exit_code == 2, result.output
    assert result.output.strip().count("\n") == 0, result.output
    assert "Traceback" not in result.output
    assert time.perf_counter() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB
    return result.output


@pytest.mark.parametrize("how", CRAFTED)
def test_a_crafted_ticket_is_refused_in_one_line_by_every_door(how: str, honest: bytes, tmp_path: Path) -> None:
    file, image = tmp_path / "ticket.safetensors", tmp_path / "image.png"
    file.write_bytes(crafted(honest, CRAFTED[how]))
    image.write_bytes(png(1))
    for arguments in (["verify"], ["predict", str(image)], ["compact", str(tmp_path / "to")]):
        assert str(file) in refused(file, *arguments)


def test_a_pipe_is_not_waited_for(honest: bytes, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "no regular file" in refused(tmp_path / "pipe", "verify")
    (tmp_path / "ticket").write_bytes(crafted(honest, weights_at(str(tmp_path / "pipe"))))
    refused(tmp_path / "ticket", "verify")


def test_an_unchanged_one_is_what_the_crafted_were_made_of(honest: bytes) -> None:
    """Else the refusals above could have any other reason."""
    assert ticket.unpack(crafted(honest, lambda fields, tensors: None)).header.round == 1


def survives(payload: bytes, num: int, seed: str) -> None:
    draw = random.Random(seed)
    refusals = 0
    for number in range(num):
        place = draw.randrange(len(payload)) if draw.random() < 0.5 else draw.randrange(min(4000, len(payload)))
        flipped = bytearray(payload)
        flipped[place] ^= 1 << draw.randrange(8)
        damaged = bytes(flipped) if draw.random() < 0.7 else payload[:place]
        try:
            ticket.unpack(damaged)
        except ticket.TicketError as error:
            refusals += "\n" not in str(error)
        except Exception as error:
            raise AssertionError(f"{seed} {number}: {error!r}") from error
    assert refusals > 0.9 * num


def test_damaged_tickets_are_one_line(honest: bytes) -> None:
    survives(honest, 150, "few")


@pytest.mark.slow
def test_damaged_tickets_by_the_thousand_are_one_line(honest: bytes) -> None:
    survives(honest, 5000, "many")


def test_weights_that_a_crafted_ticket_names_are_opened_only_if_the_caller_says_so(
    honest: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "ticket.safetensors"
    file.write_bytes(crafted(honest, weights_at(str(tmp_path / "weights.safetensors"))))
    assert "which is opened only if you say so; say where they are with weights=... (--weights)" in refused(
        file, "verify"
    )
    opened = ticket.load_ticket(str(file), weights="package")
    assert opened.classes == ticket.unpack(honest).header.classes
    assert dataclasses.is_dataclass(opened.body.backbone.transform)
