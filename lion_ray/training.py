"""One round of training in plain PyTorch, and evaluation. No Ray: `trial` calls it, in any process.

Every random draw is a function of the seeds that are passed in, so a round that is started again gives the same bits.
A team of N workers splits each global batch, never enlarges it: N changes the speed and, to round-off, nothing else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lion_ray import solves
from lion_ray.backbones import Transform
from lion_ray.config import TrainConfig
from lion_ray.data import Split
from lion_ray.lottery import Mask, Notes, Partial, Point
from lion_ray.methods import AdaptedModel
from lion_ray.optimizer import Steps
from lion_ray.team import Team

EVALUATION_BATCH = 100
OnEpoch = Callable[[dict[str, Any]], None]


class TrainingDiverged(FloatingPointError):
    """The loss is no longer a finite number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Keep:
    """What later rounds will need of a round: the point after so many epochs, the scores of its last epoch."""

    point_after: int | None = None
    scores: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a round's training left, beside the weights in the model: one record per epoch and what was to be kept."""

    history: Sequence[Mapping[str, Any]]
    point: Point | None
    scores: Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """What the trained part reads: images (N, S, S, 3) uint8, or features (N, D) where those are fixed; labels (N,)."""

    images: np.ndarray | None
    features: Tensor | None
    labels: Tensor
    transform: Transform

    def inputs(self, indices: Tensor) -> Tensor:
        """Rows `indices` as the trained part takes them, on the labels' device; the cache is never written."""
        if self.features is not None:
            return self.features[indices.to(self.features.device)]
        assert self.images is not None
        return self.transform.normalised(self.images[indices.numpy()], self.labels.device)


def prepare(model: AdaptedModel, split: Split, transform: Transform, device: torch.device) -> Examples:
    """A split as the model's trained part reads it; fixed features are computed here, once."""
    images = Examples(
        images=split.images, features=None, labels=torch.tensor(split.labels, device=device), transform=transform
    )
    if not model.features_are_fixed:
        return images
    with torch.no_grad():
        features = torch.cat([model.body(images.inputs(rows)) for rows in _chunks(torch.arange(len(split.labels)))])
    return dataclasses.replace(images, images=None, features=features)


def fit(
    model: AdaptedModel,
    step_module: nn.Module,
    examples: tuple[Examples, Examples],
    config: TrainConfig,
    *,
    point: Point,
    mask: Mask,
    keep: Keep,
    notes: Notes,
    seed_for: Callable[[str], int],
    team: Team,
    on_epoch: OnEpoch,
) -> Fitted:
    """Train `model` in place under `mask` on `(train, val)` examples, from `point` or from where `notes` left off.

    Args:
        step_module: `model.trained_part` as the team wraps it.
        point: weights, optimizer and epoch to go on from; one beyond the schedule's end trains a whole schedule more.
        keep: what later rounds need of this one.
        notes: read at the start, written after every epoch but the last.
        seed_for: gives the seed of a purpose; the order of epoch `e` is `order/e`, the same in every round.
        on_epoch: called with each record as soon as it exists, not with those of the notes.

    Raises:
        TrainingDiverged: the loss is not finite, on every worker at once.
    """
    train, val = examples
    last = (point.epoch // config.epochs + 1) * config.epochs
    partial = notes.load() or Partial(point=point)
    model.load_trained(partial.point.weights)
    steps = Steps(model, config, partial.point, mask.on(train.labels.device), first=point.epoch)
    steps_per_epoch, history, kept = math.ceil(len(train.labels) / config.batch_size), [*partial.history], partial.kept
    model.health()  # a new period
    for epoch in range(partial.point.epoch, last):
        totals = torch.zeros(2, dtype=torch.float64, device=train.labels.device)
        order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed_for(f"order/{epoch}")))
        steps.begin_epoch(epoch, measure=keep.scores and epoch + 1 == last)
        for index, batch in enumerate(torch.split(order, config.batch_size)):
            steps.set_rate(epoch * steps_per_epoch + index, config.epochs * steps_per_epoch)
            totals += _step(step_module, steps, train, batch, config, team)
        health = solves.merged(team.gather(model.health()))
        record = _record(epoch % config.epochs, team.sum(totals), len(train.labels), health)
        record["val_accuracy"], record["evaluation_health"] = evaluate(model, val, config, team)
        history.append(record)
        on_epoch(record)
        if epoch + 1 == keep.point_after:
            kept = steps.point(epoch + 1)
        if epoch + 1 < last:
            notes.save(Partial(point=steps.point(epoch + 1), history=history, kept=kept))
    return Fitted(history=history, point=kept, scores=steps.scores())


def evaluate(
    model: AdaptedModel, examples: Examples, config: TrainConfig, team: Team
) -> tuple[float, dict[str, float]]:
    """Top-1 accuracy, 0 to 1, and the health of its solves; every example counts once, on one of the workers."""
    model.health()  # what was solved before is not this evaluation's
    correct = torch.zeros((), dtype=torch.int64, device=examples.labels.device)
    with torch.no_grad(), _autocast(config, examples.labels.device):
        for rows in _chunks(torch.arange(team.rank, len(examples.labels), team.size)):
            predicted = model.trained_part(examples.inputs(rows)).argmax(dim=1)
            correct += (predicted == examples.labels[rows]).sum()
    health = solves.merged(team.gather(model.health()))
    return int(team.sum(correct)) / len(examples.labels), health


def _step(
    module: nn.Module,
    steps: Steps,
    train: Examples,
    batch: Tensor,
    config: TrainConfig,
    team: Team,
) -> Tensor:
    """One optimizer step on this worker's share of the global `batch`; returns its summed (loss, number correct)."""
    share, weight = batch[team.rank :: team.size], team.size / len(batch)
    if len(share) == 0:  # fewer examples than workers: take part in the averaging with a gradient of zero
        share, weight = batch[:1], 0.0
    labels = train.labels[share.to(train.labels.device)]
    with _autocast(config, labels.device):
        logits = module(train.inputs(share)).float()
    loss = nn.functional.cross_entropy(logits, labels, reduction="sum")
    steps.take(loss * weight)
    counted = torch.stack([loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()]).double()
    return counted if weight else torch.zeros_like(counted)


def _record(epoch: int, totals: Tensor, num_examples: int, health: Mapping[str, float]) -> dict[str, Any]:
    loss, correct = (float(total) / num_examples for total in totals)
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"the training loss is {loss} in epoch {epoch}; lower train.lr or the prompts' lr_multiplier"
        )
    return {"epoch": epoch, "loss": loss, "train_accuracy": correct, "health": health}


def _chunks(rows: Tensor) -> Iterator[Tensor]:
    yield from (torch.split(rows, EVALUATION_BATCH) if len(rows) else ())


def _autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")
