"""The lottery's science on small weights: counts, ties, nesting, rewinding, stopping."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lion_ray.config import LotteryConfig
from lion_ray.lottery import (
    WINNING,
    Checkpointer,
    Mask,
    NoCheckpoints,
    Round,
    TrainState,
    prune,
    run_rounds,
    should_stop,
)
from tests.support.records import metrics

Value = TypeVar("Value")


def weights(*sizes: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {f"w{i}": torch.randn(size, generator=generator) for i, size in enumerate(sizes)}


def magnitudes(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.abs() for name, value in values.items()}


@given(
    sizes=st.lists(st.integers(2, 60), min_size=1, max_size=4),
    share=st.floats(0.01, 0.99),
    levels=st.integers(1, 5),
    scope=st.sampled_from(["global", "normalised", "layer"]),
)
def test_exactly_the_rounded_share_goes_however_many_weights_tie(
    sizes: list[int], share: float, levels: int, scope: str
) -> None:
    tied = {name: (weight * levels).round() for name, weight in weights(*sizes).items()}
    config = LotteryConfig(prune=share, scope=scope, allow_dead_layers=True)  # type: ignore[arg-type]
    mask = Mask.dense(tied)
    for _ in range(3):
        smaller = prune(magnitudes(tied), mask, config, 1)
        groups = [[name] for name in tied] if scope == "layer" else [list(tied)]
        expected = sum(_left(sum(int(mask.alive[name].sum()) for name in group), share) for group in groups)
        assert smaller.num_alive == expected
        assert smaller.is_within(mask)
        mask = smaller


def _left(alive: int, share: float) -> int:
    return alive - round(share * alive)


def test_the_smallest_magnitudes_go_first() -> None:
    values = {"a": torch.tensor([0.1, -5.0, 0.3]), "b": torch.tensor([-0.2, 4.0])}
    mask = prune(magnitudes(values), Mask.dense(values), LotteryConfig(prune=0.4), 1)
    assert mask.alive["a"].tolist() == [False, True, True]
    assert mask.alive["b"].tolist() == [False, True]


@pytest.mark.parametrize("scope", ["layer", "normalised"])
def test_the_scale_of_a_layer_changes_nothing_unless_layers_are_compared_as_they_are(scope: Any) -> None:
    values = weights(40, 60)
    scaled = {name: weight * scale for (name, weight), scale in zip(values.items(), (1e-3, 8.0), strict=True)}
    config = LotteryConfig(prune=0.5, scope=scope)
    one, other = (prune(magnitudes(each), Mask.dense(each), config, 1) for each in (values, scaled))
    assert one.equals(other)
    as_they_are = LotteryConfig(prune=0.5, scope="global")
    assert int(prune(magnitudes(scaled), Mask.dense(scaled), as_they_are, 1).alive["w0"].sum()) == 1


def test_scores_are_held_against_the_mean_of_what_lives_in_their_layer() -> None:
    values = {"a": torch.tensor([1.0, 2.0, 3.0, 90.0]), "b": torch.tensor([10.0, 22.0, 31.0])}
    mask = Mask(alive={"a": torch.tensor([True, True, True, False]), "b": torch.ones(3, dtype=torch.bool)})
    kept = prune(magnitudes(values), mask, LotteryConfig(prune=0.5, scope="normalised"), 1)
    assert kept.alive["a"].tolist() == [False, False, True, False]  # 0.50, 1.00, 1.50 of their mean
    assert kept.alive["b"].tolist() == [False, True, True]  # 0.48, 1.05, 1.48


def test_ties_fall_in_a_stable_order() -> None:
    values = {"b": torch.ones(3), "a": torch.ones(3)}
    mask = prune(magnitudes(values), Mask.dense(values), LotteryConfig(prune=0.5, scope="global"), 1)
    assert mask.alive["a"].tolist() == [True, False, False]  # the first of each layer is kept: no layer may die
    assert mask.alive["b"].tolist() == [True, False, True]


def test_no_layer_dies_unless_allowed() -> None:
    values = {"small": torch.full((4,), 1e-6), "large": torch.ones(16)}
    mask = Mask.dense(values)
    kept = prune(magnitudes(values), mask, LotteryConfig(prune=0.5, scope="global"), 1)
    assert int(kept.alive["small"].sum()) == 1
    assert kept.num_alive == 10
    config = LotteryConfig(prune=0.5, scope="global", allow_dead_layers=True)
    dead = prune(magnitudes(values), mask, config, 1)
    assert int(dead.alive["small"].sum()) == 0
    assert dead.num_alive == 10


def test_a_mask_zeroes_and_leaves_other_names_alone() -> None:
    mask = Mask(alive={"w": torch.tensor([True, False])})
    start = {"w": torch.tensor([1.0, 2.0]), "bias": torch.tensor([3.0])}
    applied = mask.applied(start)
    assert applied["w"].tolist() == [1.0, 0.0]
    assert applied["bias"].tolist() == [3.0]
    assert start["w"].tolist() == [1.0, 2.0]


def test_masks_validate_themselves() -> None:
    with pytest.raises(ValueError, match="boolean"):
        Mask(alive={"w": torch.ones(2)})


class MemoryRounds:
    """A ledger for these tests."""

    def __init__(self) -> None:
        self.rounds: dict[int, Round] = {}
        self.controls: dict[tuple[int, str], Round] = {}
        self.kept_start: Mapping[str, Tensor] | None = None

    def start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        self.kept_start = self.kept_start or make()
        return self.kept_start

    def load(self, number: int, ticket: str = WINNING) -> Round | None:
        return self.rounds.get(number) if ticket == WINNING else self.controls.get((number, ticket))

    def commit(self, finished: Round) -> None:
        if finished.ticket == WINNING:
            self.rounds[finished.number] = finished
        else:
            self.controls[finished.number, finished.ticket] = finished

    def checkpointer(self, number: int, ticket: str, mask: Mask) -> NoCheckpoints:
        return NoCheckpoints()

    def flush(self) -> None:
        """All is kept already."""

    def once(self, make: Callable[[], Value]) -> Value:
        return make()


class NoisyTrainer:
    """Moves every living weight, differently each round, and notes what it was given."""

    def __init__(self, accuracies: Sequence[float] = (0.9,) * 9) -> None:
        self.given: dict[int, tuple[Mapping[str, Tensor], Mask]] = {}
        self.branches: dict[tuple[int, str], tuple[TrainState, Mask]] = {}
        self.accuracies = accuracies

    def seed_for(self, purpose: str) -> int:
        return zlib.crc32(purpose.encode())

    def start(self, purpose: str = "start") -> dict[str, Tensor]:
        drawn = weights(10, 20) | {"bias": torch.ones(2)}
        return drawn if purpose == "start" else {name: -weight for name, weight in drawn.items()}

    def prunable(self) -> tuple[str, ...]:
        return "w0", "w1"

    def train(self, number: int, state: TrainState, mask: Mask, ticket: str, checkpointer: Checkpointer) -> Round:
        trained = mask.applied({name: weight * (2 + number) + 0.1 for name, weight in state.weights.items()})
        if ticket != WINNING:
            self.branches[number, ticket] = state, mask
            measured = metrics(density=mask.density, val_accuracy=0.0)  # worse than any tolerance
            return Round(number=number, weights=trained, mask=mask, metrics=measured, ticket=ticket)
        self.given[number] = state.weights, mask
        measured = metrics(density=mask.density, val_accuracy=self.accuracies[number])
        return Round(number=number, weights=trained, mask=mask, metrics=measured)


def test_every_round_starts_from_the_first_weights_under_a_nested_mask() -> None:
    trainer = NoisyTrainer()
    rounds = list(run_rounds(LotteryConfig(rounds=4, prune=0.5, scope="global"), trainer, MemoryRounds()))
    assert [each.mask.num_alive for each in rounds] == [30, 15, 7, 3]  # round() halves to even: 15 loses 8, 7 loses 4
    for earlier, later in pairwise(rounds):
        assert later.mask.is_within(earlier.mask)
    for rewound, mask in trainer.given.values():
        for name, start in mask.applied(trainer.start()).items():
            assert torch.equal(rewound[name], start)


def test_finished_rounds_are_not_trained_again_and_the_result_is_the_same() -> None:
    config = LotteryConfig(rounds=4, prune=0.5)
    whole = list(run_rounds(config, NoisyTrainer(), MemoryRounds()))
    ledger = MemoryRounds()
    list(run_rounds(config.model_copy(update={"rounds": 2}), NoisyTrainer(), ledger))
    trainer = NoisyTrainer()
    resumed = list(run_rounds(config, trainer, ledger))
    assert sorted(trainer.given) == [2, 3]
    for one, other in zip(whole, resumed, strict=True):
        assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_kept_round_counts_only_if_it_follows_from_the_one_before() -> None:
    config, ledger = LotteryConfig(rounds=3, prune=0.5), MemoryRounds()
    list(run_rounds(config, NoisyTrainer(), ledger))
    other = ledger.rounds[0].weights["w1"].flip(0)
    ledger.rounds[0] = dataclasses.replace(ledger.rounds[0], weights={**ledger.rounds[0].weights, "w1": other})
    trainer = NoisyTrainer()
    rounds = list(run_rounds(config, trainer, ledger))
    assert sorted(trainer.given) == [1, 2]
    assert rounds[2].mask.is_within(rounds[1].mask)


def test_the_schedule_stops_when_validation_falls_for_patience_rounds() -> None:
    config = LotteryConfig(rounds=6, tolerance=0.05, patience=2)
    trainer = NoisyTrainer((0.9, 0.8, 0.88, 0.84, 0.80, 0.9))
    assert len(list(run_rounds(config, trainer, MemoryRounds()))) == 5
    assert not should_stop([0.9], config)
    assert not should_stop([0.9, 0.1, 0.1], config.model_copy(update={"tolerance": None}))


def test_a_method_with_nothing_to_prune_trains_once() -> None:
    trainer = NoisyTrainer()
    trainer.prunable = lambda: ()  # type: ignore[method-assign]
    assert [each.number for each in run_rounds(LotteryConfig(rounds=5), trainer, MemoryRounds())] == [0]
