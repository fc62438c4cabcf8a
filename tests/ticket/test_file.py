"""The shipped file: what is in it, what it costs, what opens it and what does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from lion_ray import ticket
from lion_ray.store import Store
from tests.support.small_runs import experiment, run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_a_ticket_is_the_round_bit_for_bit(study_file: Path, store: Store) -> None:
    chosen = experiment(study_file)
    for finished in run(chosen, store):
        payload = (store.load(chosen.key(f"round-{finished.number}")) or {})["ticket.safetensors"]
        kept = ticket.unpack(payload)
        weights, mask, header = kept.weights, kept.mask, kept.header
        assert header.round == finished.number
        assert all(torch.equal(entry, finished.mask.alive[name]) for name, entry in mask.alive.items())
        assert all(torch.equal(weight, finished.weights[name]) for name, weight in weights.items())
        assert weights.keys() == finished.weights.keys()


def test_any_program_can_read_the_header(study_file: Path, store: Store, tmp_path: Path) -> None:
    chosen = experiment(study_file, "lottery.rounds=1")
    run(chosen, store)
    path = tmp_path / "store" / chosen.key("round-0") / "ticket.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["lion_ray"])
    assert header["format"] == 2
    assert header["backbone"]["name"] == "tf_efficientnet_lite0"
    assert len(header["classes"]) == 10
    assert 0 <= header["metrics"]["val_accuracy"] <= 1


def test_a_loaded_ticket_has_the_test_accuracy_that_was_measured(study_file: Path, store: Store) -> None:
    from lion_ray.training import loop
    from lion_ray.training.batches import prepare
    from lion_ray.training.workers import SingleWorker
    from tests.support.small_runs import decoded

    chosen = experiment(study_file)
    finished = run(chosen, store)[-1]
    model = ticket.load_ticket(f"{store.url}/{chosen.key(f'round-{finished.number}')}/ticket.safetensors")
    examples = prepare(model, decoded(chosen).test, model.body.backbone.transform, torch.device("cpu"))
    assert loop.evaluate(model, examples, chosen.train, SingleWorker())[0] == finished.metrics.test_accuracy


def test_other_backbone_weights_are_refused(study_file: Path, store: Store) -> None:
    chosen = experiment(study_file, "lottery.rounds=1")
    run(chosen, store)
    url = f"{store.url}/{chosen.key('round-0')}/ticket.safetensors"
    with pytest.raises(ticket.TicketError, match="trained on other weights"):
        ticket.load_ticket(url, weights="random")


@pytest.mark.parametrize("payload", [b"", b"not a ticket", b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 64])
def test_what_is_no_ticket_is_refused(tmp_path: Path, payload: bytes) -> None:
    (tmp_path / "t").write_bytes(payload)
    with pytest.raises(ticket.TicketError):
        ticket.load_ticket(str(tmp_path / "t"))


def test_other_formats_and_cut_files_are_refused(study_file: Path, store: Store, tmp_path: Path) -> None:
    chosen = experiment(study_file, "lottery.rounds=1")
    run(chosen, store)
    payload = (store.load(chosen.key("round-0")) or {})["ticket.safetensors"]
    cut = tmp_path / "cut"
    cut.write_bytes(payload[:-10])
    with pytest.raises(ticket.TicketError, match="damaged"):
        ticket.load_ticket(str(cut))
    with pytest.raises(ticket.TicketError, match="format 3"):
        ticket.read_header(payload.replace(b'\\"format\\":2', b'\\"format\\":3'))


def test_tensors_of_other_types_are_refused(study_file: Path, store: Store) -> None:
    chosen = experiment(study_file, "lottery.rounds=1")
    run(chosen, store)
    payload = (store.load(chosen.key("round-0")) or {})["ticket.safetensors"]
    text = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])["__metadata__"]["lion_ray"]
    halves = {name: tensor.bfloat16() for name, tensor in load(payload).items()}
    with pytest.raises(ticket.TicketError, match="no complete ticket"):
        ticket.unpack(save(halves, metadata={"lion_ray": text}))


def test_the_tickets_transform_counts_whatever_timm_says_now(study_file: Path, store: Store) -> None:
    chosen = experiment(study_file, "lottery.rounds=1")
    run(chosen, store)
    kept = ticket.unpack((store.load(chosen.key("round-0")) or {})["ticket.safetensors"])
    transform = {**kept.header.transform, "mean": [0.1, 0.2, 0.3], "crop_fraction": 0.9}
    moved = dataclasses.replace(kept, header=kept.header.model_copy(update={"transform": transform}))
    found = ticket.model_of(moved).body.backbone.transform
    assert (found.mean, found.crop_fraction, found.size) == ((0.1, 0.2, 0.3), 0.9, 32)
    wrong = dataclasses.replace(kept, header=kept.header.model_copy(update={"transform": {"size": 3}}))
    with pytest.raises(ticket.TicketError, match="transform is incomplete"):
        ticket.model_of(wrong)
