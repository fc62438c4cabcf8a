"""Robust training inside a round: what is critical learns as ever, the rest only shrinks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from lion_ray.config import RobustConfig
from lion_ray.lottery import Mask, RobustSteps
from lion_ray.lottery.robust import top
from tests.training.test_one_round import dense, half_mask, trainer, under

ROBUST = "train.robust={{tau: {tau}, shrinkage: {shrinkage}}}"


def robust(tau: float, shrinkage: float = 1.0) -> str:
    return ROBUST.format(tau=tau, shrinkage=shrinkage)


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_tau_1_is_ordinary_training_bit_for_bit(study_file: Path, kind: str) -> None:
    common = [f"train.optimizer={kind}", "train.epochs=3", "train.weight_decay=0.1"]
    ordinary = trainer(study_file, *common)
    mask = half_mask(ordinary)
    first = under(ordinary, mask)
    same = under(trainer(study_file, *common, robust(1.0), seeds_of=common), mask)
    for name, weight in first.weights.items():
        assert torch.equal(weight, same.weights[name]), name


def test_at_tau_03_v_leaves_zero_and_stays_away(study_file: Path) -> None:
    finished = dense(trainer(study_file, "train.epochs=4", robust(0.3)))
    for name in ("body.prompt.V", "head.prompt.V"):
        assert bool(finished.weights[name].any())


@pytest.fixture
def layer() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -1.0, 0.05, 2.0, 0.0]))


def a_step(layer: nn.Parameter, config: RobustConfig, optimizer: torch.optim.Optimizer, alive: list[bool]) -> None:
    layer.grad = torch.tensor([3.0, 0.1, 0.1, 9.0, 1.0])
    RobustSteps(config, {"w": layer}, Mask(alive={"w": torch.tensor(alive)})).step(optimizer)


def test_critical_weights_take_the_plain_step_and_others_only_shrink(layer: nn.Parameter) -> None:
    config, living = RobustConfig(tau=0.4, shrinkage=1.0), [True] * 5
    a_step(layer, config, torch.optim.SGD([layer], lr=0.1, weight_decay=0.5), living)
    plain = nn.Parameter(torch.tensor([1.0, 2.0]))
    plain.grad = torch.tensor([3.0, 9.0])
    torch.optim.SGD([plain], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(layer[[0, 3]], plain)
    assert torch.allclose(layer[[1, 2, 4]], torch.tensor([-0.9, 0.0, 0.0]))  # no loss, no decay, no crossing of zero


def test_the_share_counts_living_weights_only(layer: nn.Parameter) -> None:
    config, living = RobustConfig(tau=0.5, shrinkage=0.0), [False, True, True, True, True]
    a_step(layer, config, torch.optim.SGD([layer], lr=0.1), living)
    assert layer[1:3].tolist() == pytest.approx([-1.01, 0.05])  # of four living weights the two of highest |g w| learn
    assert float(layer.detach()[3]) == pytest.approx(1.1)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_others_lose_their_momentum(layer: nn.Parameter, kind: str) -> None:
    optimizer: torch.optim.Optimizer = torch.optim.AdamW([layer], lr=0.01)
    if kind == "sgd":
        optimizer = torch.optim.SGD([layer], lr=0.01, momentum=0.9)
    for tau in (1.0, 0.4):
        a_step(layer, RobustConfig(tau=tau, shrinkage=0.1), optimizer, [True] * 5)
        state = optimizer.state[layer]
        momentum = state["exp_avg"] if "exp_avg" in state else state["momentum_buffer"]
        assert [value != 0 for value in momentum.tolist()] == [True, tau == 1, tau == 1, True, tau == 1]


def test_the_ranking_is_global_exact_and_stable_in_ties() -> None:
    scores = torch.tensor([1.0, 3.0, 1.0, 1.0, 5.0])
    chosen = [top(scores, count).nonzero().flatten().tolist() for count in range(6)]
    assert chosen == [[], [4], [1, 4], [0, 1, 4], [0, 1, 2, 4], [0, 1, 2, 3, 4]]
    small, large = nn.Parameter(torch.full((4,), 0.1)), nn.Parameter(torch.ones(4))
    small.grad, large.grad = torch.ones(4), torch.ones(4)
    weights = {"small": small, "large": large}
    steps = RobustSteps(RobustConfig(tau=0.5, shrinkage=0.0), weights, Mask.dense(weights))
    steps.step(torch.optim.SGD([small, large], lr=0.1))
    assert torch.equal(small, torch.full((4,), 0.1))
    assert torch.allclose(large, torch.full((4,), 0.9))


def test_biases_and_the_classifier_always_learn_and_warm_up_is_ordinary(study_file: Path) -> None:
    two_epochs, tiny = ["train.epochs=2", "train.schedule=constant"], robust(1e-6, 0.0)
    subject = trainer(study_file, *two_epochs, tiny)
    finished = dense(subject)
    once = trainer(study_file, *two_epochs, "lottery.rewind={epoch: 1}", seeds_of=[*two_epochs, tiny])
    point = dense(once).state  # after one epoch of ordinary training
    assert point is not None
    for name, weight in finished.weights.items():
        learns = name not in subject.prunable()
        assert torch.equal(weight, point.weights[name]) != learns, name
        assert not torch.equal(point.weights[name], subject.start()[name]), name
