"""What makes a weight worth keeping, and how many are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lion_ray.config import LotteryConfig, OneShot
from lion_ray.lottery import Mask, Round, prune, run_rounds, scores
from tests.lottery.test_rounds import MemoryRounds, NoisyTrainer, magnitudes, weights
from tests.training.test_one_round import dense, trainer


@given(
    sizes=st.lists(st.integers(2, 60), min_size=1, max_size=4),
    densities=st.lists(st.floats(0.01, 0.99), min_size=1, max_size=4, unique=True),
    scope=st.sampled_from(["global", "layer"]),
)
def test_densities_are_met_exactly_round_by_round(sizes: list[int], densities: list[float], scope: Any) -> None:
    targets = tuple(sorted(densities, reverse=True))
    config = LotteryConfig(prune=targets, scope=scope, allow_dead_layers=True)
    assert config.rounds == 1 + len(targets)
    values = weights(*sizes)
    mask = Mask.dense(values)
    for number, density in enumerate(targets, start=1):
        smaller = prune(magnitudes(values), mask, config, number)
        groups = [sizes] if scope == "global" else [[size] for size in sizes]
        assert smaller.num_alive == sum(round(density * sum(group)) for group in groups)
        assert smaller.is_within(mask)
        mask = smaller


def test_one_shot_goes_to_its_density_in_one_pruning() -> None:
    config = LotteryConfig(prune=OneShot(one_shot=0.1))
    found = list(run_rounds(config, NoisyTrainer(), MemoryRounds()))
    assert [each.mask.num_alive for each in found] == [30, 3]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_density_below_one_weight_per_layer_keeps_one_in_each(scope: Any) -> None:
    values = weights(50, 50, 50)
    mask = prune(magnitudes(values), Mask.dense(values), LotteryConfig(prune=(0.001,), scope=scope), 1)
    assert [int(entry.sum()) for entry in mask.alive.values()] == [1, 1, 1]


def test_gradient_weight_sums_the_last_epochs_products(study_file: Path) -> None:
    """Two epochs of one step each: the product of weights and gradients at the state after the first."""
    one_step = ["train.batch_size=48", "lottery.criterion=gradient_weight", "lottery.rewind={epoch: 1}"]
    subject = trainer(study_file, *one_step)
    finished = dense(subject)
    assert finished.state is not None
    subject.model.load_trained(finished.state.weights)
    subject.model.zero_grad()
    (inputs,) = subject._splits.train.batches([torch.arange(48)], seed=0)
    logits = subject.model.trained_part(inputs)
    torch.nn.functional.cross_entropy(logits, subject._splits.train.labels).backward()  # type: ignore[no-untyped-call]
    expected = scores("gradient_weight", finished, subject.seed_for)
    assert expected.keys() == set(subject.prunable())
    for name, weight in subject.model.trained().items():
        if name in expected:
            assert weight.grad is not None
            assert bool(expected[name].any()), name
            assert torch.allclose(expected[name], (weight.grad * weight).abs().float(), rtol=1e-3, atol=1e-8), name


def test_random_pruning_reads_no_weight_and_draws_the_same_again() -> None:
    config = LotteryConfig(rounds=4, prune=0.5, criterion="random")
    first, again = (list(run_rounds(config, NoisyTrainer(), MemoryRounds())) for _ in range(2))
    other = NoisyTrainer()
    other.start = lambda _="start": {name: weight.flip(0) for name, weight in NoisyTrainer().start().items()}  # type: ignore[method-assign, assignment]
    flipped = list(run_rounds(config, other, MemoryRounds()))
    magnitude = list(run_rounds(config.model_copy(update={"criterion": "magnitude"}), NoisyTrainer(), MemoryRounds()))
    for number, each in enumerate(first):
        assert each.mask.equals(again[number].mask)
        assert each.mask.equals(flipped[number].mask)
        assert each.mask.num_alive == magnitude[number].mask.num_alive
        assert number == 0 or each.mask.is_within(first[number - 1].mask)
        assert number == 0 or not each.mask.equals(magnitude[number].mask)


def test_a_round_that_measures_nothing_keeps_no_scores(study_file: Path) -> None:
    finished: Round = dense(trainer(study_file, "train.epochs=1"))
    assert (dict(finished.scores), finished.state) == ({}, None)
