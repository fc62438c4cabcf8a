"""One round of training: what must hold after every step, and what must be the same bits twice."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lion_ray import backbones
from lion_ray.backbones import Transform
from lion_ray.config import TrainConfig
from lion_ray.lottery import Mask, Round, TrainState
from lion_ray.training import batches, loop, optimizer
from lion_ray.training.workers import SingleWorker
from lion_ray.trial.trainer import RoundTrainer
from tests.support.small_runs import decoded, experiment

CPU = torch.device("cpu")


def trainer(study_file: Path, *overrides: str, seeds_of: Sequence[str] | None = None) -> RoundTrainer:
    """For the study with `overrides`; `seeds_of` other overrides, to compare settings from the same start."""
    chosen = experiment(study_file, *overrides)
    if seeds_of is not None:
        chosen = dataclasses.replace(chosen, digest=experiment(study_file, *seeds_of).digest)
    backbone = backbones.load(chosen.backbone)
    return RoundTrainer(chosen, decoded(chosen), backbone, workers=SingleWorker(), device=CPU, on_epoch=lambda *_: None)


def half_mask(subject: RoundTrainer) -> Mask:
    generator = torch.Generator().manual_seed(3)
    start = subject.start()
    return Mask(alive={name: torch.rand(start[name].shape, generator=generator) < 0.5 for name in subject.prunable()})


def dense(subject: RoundTrainer) -> Round:
    """Round 0."""
    start = subject.start()
    return subject.train(0, TrainState(weights=start), Mask.dense({name: start[name] for name in subject.prunable()}))


def under(subject: RoundTrainer, mask: Mask) -> Round:
    """A later round, rewound to the start."""
    return subject.train(1, TrainState(weights=subject.start()).under(mask), mask)


@pytest.mark.parametrize(
    "setting", ["optimizer=adamw", "optimizer=adam", "optimizer=sgd", "robust={tau: 0.5, shrinkage: 0.1}"]
)
def test_pruned_weights_are_exactly_zero_after_every_step(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    subject = trainer(study_file, f"train.{setting}", "train.weight_decay=0.1")
    mask, seen, take = half_mask(subject), [], optimizer.OptimizerStepper.take

    def noted(self: optimizer.OptimizerStepper, loss: torch.Tensor) -> None:
        take(self, loss)
        weights = subject.model.trained()
        seen.append(all(not bool(weights[name][~entry].any()) for name, entry in mask.alive.items()))

    monkeypatch.setattr(optimizer.OptimizerStepper, "take", noted)
    finished = under(subject, mask)
    assert len(seen) == 6  # 2 epochs of 3 steps
    assert all(seen)
    for name, entry in mask.alive.items():
        assert not bool(finished.weights[name][~entry].any())
        assert bool(finished.weights[name][entry].any())


def test_a_round_is_the_same_bits_every_time(study_file: Path) -> None:
    subject = trainer(study_file)
    mask = half_mask(subject)
    first = under(subject, mask)
    dense(subject)
    again = subject.train(
        1, TrainState(weights=mask.applied(subject.start())), mask
    )  # optimizer, schedule and data order are rewound
    other = under(trainer(study_file), mask)
    for name, weight in first.weights.items():
        assert torch.equal(weight, again.weights[name]), name
        assert torch.equal(weight, other.weights[name]), name
    assert first.metrics == again.metrics == other.metrics


def test_training_learns_and_moves_both_prompts(study_file: Path) -> None:
    subject = trainer(study_file, "train.epochs=4", "train.lr=1e-2")
    finished = dense(subject)
    losses = [record.loss for record in finished.metrics.history]
    assert losses[-1] < 0.7 * losses[0]
    assert (finished.metrics.val_accuracy or 0.0) > 0.3
    for name in ("body.prompt.V", "head.prompt.V"):
        assert bool(finished.weights[name].any())


def test_the_bound_holds_after_training(study_file: Path) -> None:
    subject = trainer(study_file, "train.lr=0.1", "train.epochs=1")
    finished = dense(subject)
    for prompt in ("body", "head"):
        rows = finished.weights[f"{prompt}.prompt.equilibrium.cell.W"].double().abs().flatten(1).sum(1)
        assert float(rows.max()) <= 0.5 + 1e-7
    assert finished.metrics.history[-1].health["body.prompt.share_unconverged"] == 0


def test_cached_images_are_never_written(study_file: Path) -> None:
    dataset = decoded(experiment(study_file))
    before = dataset.train.images.copy()
    subject = trainer(study_file)
    dense(subject)
    assert np.array_equal(dataset.train.images, before)
    with pytest.raises(ValueError, match="read-only"):
        dataset.train.images[0] = 0


def test_fixed_features_give_what_images_give(study_file: Path) -> None:
    subject = trainer(study_file, "methods=[linear]")
    dataset = decoded(experiment(study_file))
    rows = torch.arange(10)
    transform = subject.model.body.backbone.transform
    assert isinstance(transform, Transform)
    direct = transform.normalised(dataset.train.images[:10].copy(), CPU)
    cached = batches.prepare(subject.model, dataset.train, transform, CPU)
    with torch.no_grad():
        (inputs,) = cached.batches([rows], seed=0)
        assert torch.allclose(subject.model.body(direct), inputs, atol=1e-5)


def test_normalisation_is_the_backbones() -> None:
    transform = Transform(
        size=2, interpolation="bicubic", crop_fraction=None, mean=(0.5, 0.4, 0.3), std=(0.5, 0.2, 0.1)
    )
    images = np.full((1, 2, 2, 3), 255, dtype=np.uint8)
    expected = [(1 - 0.5) / 0.5, (1 - 0.4) / 0.2, (1 - 0.3) / 0.1]
    assert torch.allclose(transform.normalised(images, CPU)[0, :, 0, 0], torch.tensor(expected))


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    config = TrainConfig(epochs=10, warmup_epochs=2.0)
    factors = [optimizer.learning_rate_factor(step, 100, config) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 20)
    assert factors[19] == factors[20] == 1.0
    assert factors[20:] == sorted(factors[20:], reverse=True)
    assert 0 < factors[-1] < 0.01
    constant = config.model_copy(update={"schedule": "constant"})
    assert optimizer.learning_rate_factor(99, 100, constant) == 1.0


def test_a_loss_that_is_not_finite_says_so(study_file: Path) -> None:
    subject = trainer(study_file, "train.optimizer=sgd", "train.lr=1e30")
    with pytest.raises(loop.TrainingDiverged, match=r"lower train\.lr"):
        dense(subject)


def test_bf16_autocast_trains(study_file: Path) -> None:
    subject = trainer(study_file, "train.precision=bf16", "train.epochs=1", "methods=[{name: lion, input: false}]")
    finished = dense(subject)
    assert np.isfinite(finished.metrics.history[0].loss)
    assert all(weight.dtype == torch.float32 for weight in finished.weights.values())


def test_prompts_may_learn_at_their_own_rate(study_file: Path) -> None:
    subject = trainer(study_file, "methods=[{name: lion, input: {lr_multiplier: 10}}]")
    rates = [group["lr"] for group in subject.model.parameter_groups(1e-3)]
    assert rates == [1e-2, 1e-3, 1e-3]
