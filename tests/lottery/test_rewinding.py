"""Rewinding: where a round starts, and that all of training's state goes back with the weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lion_ray.config import LotteryConfig, RewindEpoch
from lion_ray.lottery import Checkpointer, Mask, Round, TrainState, Weights, run_rounds
from lion_ray.store import Store
from tests.lottery.test_controls import kept
from tests.lottery.test_rounds import MemoryRounds, NoisyTrainer
from tests.support.small_runs import artifacts, experiment, run
from tests.training.test_one_round import dense, trainer


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_from_the_rewind_point_a_dense_round_ends_with_round_0s_bits(study_file: Path, kind: str) -> None:
    """So weights, moments, step counts, schedule, warm-up and the order of the images all went back to the point."""
    subject = trainer(
        study_file, f"train.optimizer={kind}", "train.epochs=3", "train.warmup_epochs=2", "lottery.rewind={epoch: 1}"
    )
    whole = dense(subject)
    assert whole.state is not None
    assert whole.state.epoch == 1
    again = subject.train(1, whole.state.under(whole.mask), whole.mask)
    assert same(again.weights, whole.weights)
    assert again.metrics.history == whole.metrics.history[1:]
    fresh = subject.train(1, dataclasses.replace(whole.state, optimizer={}), whole.mask)
    assert not same(fresh.weights, whole.weights)  # the optimizer's state matters, and is rewound


def test_without_rewinding_two_rounds_are_one_long_training(study_file: Path) -> None:
    """`none` goes on: optimizer, rate and order of the images as if nothing had been pruned."""
    long = ["train.epochs=4", "train.schedule=constant"]
    short = ["train.epochs=2", "train.schedule=constant", "lottery.rewind=none"]
    whole = dense(trainer(study_file, *long))
    subject = trainer(study_file, *short, seeds_of=long)
    first = dense(subject)
    assert first.state is not None
    second = subject.train(1, first.state.under(first.mask), first.mask)
    assert same(second.weights, whole.weights)
    assert second.state is not None
    assert second.state.epoch == 4
    assert [record.epoch for record in second.metrics.history] == [0, 1]


class PointingTrainer(NoisyTrainer):
    """Notes whole points, and leaves one in every round that asks for none."""

    def train(self, number: int, state: TrainState, mask: Mask, ticket: str, checkpointer: Checkpointer) -> Round:
        finished = super().train(number, state, mask, ticket, checkpointer)
        self.points = {**getattr(self, "points", {}), (number, ticket): state}
        halfway = {name: weight + 0.5 for name, weight in state.weights.items()}
        moments = {f"{name}/exp_avg": torch.ones_like(weight) for name, weight in halfway.items()}
        return dataclasses.replace(finished, state=TrainState(weights=halfway, optimizer=moments, epoch=number + 1))


def rounds(config: LotteryConfig) -> tuple[PointingTrainer, list[Round]]:
    subject = PointingTrainer()
    return subject, list(run_rounds(config, subject, MemoryRounds()))


def masked(weights: Weights, mask: Mask) -> dict[str, Tensor]:
    return mask.applied(weights)


def test_late_rewinding_starts_every_round_from_round_0s_one_point_under_the_mask() -> None:
    subject, found = rounds(LotteryConfig(rounds=4, rewind=RewindEpoch(epoch=1), controls=("random_ticket", "reinit")))
    point = found[0].state
    assert point is not None
    for number in (1, 2, 3):
        started = subject.points[number, "winning"]
        assert same(started.weights, masked(point.weights, found[number].mask))
        assert started.epoch == 1
        assert torch.equal(started.optimizer["w0/exp_avg"], found[number].mask.alive["w0"].float())
        drawn, mask = subject.branches[number, "random_ticket"]
        assert same(drawn.weights, masked(point.weights, mask))
        fresh, mask = subject.branches[number, "reinit"]
        assert same(fresh.weights, masked(subject.start("reinit"), mask))
        assert (fresh.epoch, fresh.optimizer) == (0, {})  # fresh weights train the whole schedule


def test_rewinding_the_learning_rate_keeps_the_trained_weights_and_nothing_else() -> None:
    subject, found = rounds(LotteryConfig(rounds=3, rewind="learning_rate"))
    for number in (1, 2):
        started = subject.points[number, "winning"]
        assert same(started.weights, masked(found[number - 1].weights, found[number].mask))
        assert (started.epoch, started.optimizer) == (0, {})


def test_rewinding_nothing_goes_on_from_the_end_of_the_last_round() -> None:
    subject, found = rounds(LotteryConfig(rounds=3, rewind="none"))
    for number in (1, 2):
        point = found[number - 1].state
        assert point is not None
        assert subject.points[number, "winning"].epoch == point.epoch == number
        assert same(subject.points[number, "winning"].weights, masked(point.weights, found[number].mask))


SETTINGS = [
    ["lottery.rewind={epoch: 1}", "lottery.criterion=gradient_weight", "lottery.controls=[random_ticket, reinit]"],
    ["lottery.rewind=none", "train.schedule=constant", "lottery.prune=[0.4, 0.1]", "lottery.scope=layer"],
    [
        "lottery.rewind=learning_rate",
        "lottery.criterion=random",
        "train.robust={tau: 0.5, shrinkage: 100.0}",
    ],  # so strong that zeros tie
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["late", "none", "learning_rate"])
def test_every_schedule_resumes_to_the_same_bits_with_pruned_weights_zero_in_every_file(
    study_file: Path, tmp_path: Path, settings: list[str]
) -> None:
    whole, resumed = Store(str(tmp_path / "whole")), Store(str(tmp_path / "resumed"))
    chosen = experiment(study_file, *settings)
    run(chosen, whole)
    for number in range(3):  # every round in a run of its own, from what the store holds
        lottery = chosen.lottery.model_copy(update={"rounds": number + 1})
        run(dataclasses.replace(chosen, lottery=lottery), resumed)
    assert artifacts(resumed) == artifacts(whole)
    point = kept(chosen, whole, 0).state
    if settings is SETTINGS[0]:
        assert point is not None
        assert (point.epoch, kept(chosen, whole, 1).state) == (1, None)  # saved once, in round 0
    for number in (1, 2):
        found = kept(chosen, whole, number)
        for weights in (found.weights, found.state.weights if found.state else {}):
            for name, entry in found.mask.alive.items():
                assert not weights or not bool(weights[name][~entry].any()), name
