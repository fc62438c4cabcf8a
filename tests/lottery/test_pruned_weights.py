"""A pruned weight takes no part in anything: a ticket trains as if its pruned entries were constants."""

from __future__ import annotations

import itertools

import pytest
import torch

from lion_ray.config import TrainConfig
from lion_ray.lottery import Mask, NoCheckpoints, RoundCheckpoint, TrainState
from tests.support.constants import (
    CONVNET,
    VIT,
    Entry,
    fit,
    model_of,
    moments,
    poisoned,
    sparse_mask,
    survivors_of,
    with_constants,
)

STAGES = {"source": "stages", "width": 6, "rank": 4}
LIONS: list[Entry] = [
    {"name": "lion"},
    {"name": "lion", "input": {"groups": 4}, "output": False},
    {"name": "lion", "input": False, "output": STAGES, "gradient": "unrolled"},
    {"name": "lion", "gamma": None, "gradient": {"neumann": 2}},
    {"name": "lion", "cell": "explicit", "depth": 2},
]
OTHERS: list[tuple[Entry, str]] = [
    ({"name": "full"}, CONVNET),
    ({"name": "partial"}, VIT),
    ({"name": "vpt_shallow"}, VIT),
    ({"name": "vpt_deep"}, VIT),
    ({"name": "vpt_pad"}, CONVNET),
    ({"name": "adapter"}, VIT),
    ({"name": "lora"}, VIT),
    ({"name": "ssf"}, CONVNET),
]
ENTRIES = [*((entry, CONVNET) for entry in LIONS), *OTHERS]
OPTIMIZERS, SCHEDULES, ROBUST = ("adamw", "adam", "sgd"), ("cosine", "constant"), (None, 0.5)
EVERYTHING = [
    (*entry, *how, late)
    for entry, how, late in itertools.product(ENTRIES, itertools.product(OPTIMIZERS, SCHEDULES, ROBUST), (False, True))
]
STRIDE = 25  # every method once, each trained another way


def config_of(optimizer: str, schedule: str, tau: float | None) -> TrainConfig:
    robust = tau and {"tau": tau, "shrinkage": 0.5}
    values = {"optimizer": optimizer, "schedule": schedule, "robust": robust, "weight_decay": 0.1}
    return TrainConfig.model_validate({**values, "epochs": 3, "batch_size": 6, "lr": 0.05})


def assert_pruned_entries_are_constants(
    entry: Entry, backbone: str, optimizer: str, schedule: str, tau: float | None, late: bool
) -> None:
    """Bit for bit: weights, every epoch's record, and what `gradient_weight` measures."""
    config, model = config_of(optimizer, schedule, tau), model_of(entry, backbone)
    mask, weights = sparse_mask(model), model.copy_trained()
    state = moments(weights, optimizer) if late else {}
    point = TrainState(weights=weights, optimizer=state, epoch=int(late))
    other = model_of(entry, backbone)
    names = with_constants(other, mask)
    of_survivors = survivors_of(point, mask, names)
    everything = Mask.dense({names[name]: of_survivors.weights[names[name]] for name in mask.alive})
    expected = fit(other, config, of_survivors, everything)
    for start in (point, poisoned(point, mask)):
        found = fit(model, config, start, mask)
        assert found.history == expected.history
        for name, weight in found.weights.items():
            alive = mask.alive.get(name, torch.ones_like(weight, dtype=torch.bool))
            same = expected.weights[names[name]].reshape(-1)
            assert torch.equal(weight[alive].reshape(-1), same), name
            assert not bool(weight[~alive].any()), name
        for name, score in found.scores.items():
            assert torch.equal(score[mask.alive[name]], expected.scores[names[name]]), name
            assert not bool(score[~mask.alive[name]].any()), name
        assert any(bool((found.weights[name] != weights[name])[alive].any()) for name, alive in mask.alive.items())


@pytest.mark.parametrize("case", EVERYTHING[::STRIDE], ids=str)
def test_a_ticket_trains_as_if_its_pruned_entries_were_constants(
    case: tuple[Entry, str, str, str, float | None, bool],
) -> None:
    assert_pruned_entries_are_constants(*case)


@pytest.mark.slow
def test_so_it_does_for_every_method_with_every_optimizer_and_schedule() -> None:
    for case in EVERYTHING:
        assert_pruned_entries_are_constants(*case)


class NotesOf(NoCheckpoints):
    """An unfinished round."""

    def __init__(self, partial: RoundCheckpoint) -> None:
        self.partial = partial

    def load(self) -> RoundCheckpoint:
        """As it was left."""
        return self.partial


def test_a_round_that_goes_on_from_its_notes_reads_no_dead_entry_of_them() -> None:
    model, config = model_of(LIONS[0], CONVNET), config_of("adamw", "cosine", 0.5)
    mask, weights = sparse_mask(model), model.copy_trained()
    begun = TrainState(weights=weights, optimizer=moments(weights, "adamw"), epoch=1)
    start = TrainState(weights=weights)
    clean, junk = (
        fit(model, config, start, mask, NotesOf(RoundCheckpoint(state=point)))
        for point in (begun, poisoned(begun, mask))
    )
    for name, weight in clean.weights.items():
        assert torch.equal(weight, junk.weights[name]), name
