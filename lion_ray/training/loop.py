"""One round of training in plain PyTorch, and evaluation. No Ray: `trial` calls it, in any process.

Every random draw is a function of the seeds that are passed in, so a round that is started again gives the same bits.
N workers split each global batch, never enlarge it: N changes the speed and, to round-off, nothing else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from lion_ray.config import TrainConfig
from lion_ray.lottery import Checkpointer, EpochRecord, Mask, RoundCheckpoint, TrainState
from lion_ray.methods import AdaptedModel, losses
from lion_ray.training import solver_health
from lion_ray.training.batches import Examples
from lion_ray.training.optimizer import OptimizerStepper
from lion_ray.training.workers import Workers

OnEpoch = Callable[[EpochRecord], None]


class TrainingDiverged(FloatingPointError):
    """The loss is no longer a finite number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptStates:
    """What later rounds will need of a round: the state after so many epochs, the scores of its last epoch."""

    state_after: int | None = None
    scores: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a round's training left, beside the weights in the model: one record per epoch and what was to be kept."""

    history: Sequence[EpochRecord]
    state: TrainState | None
    scores: Mapping[str, Tensor]


def fit(
    model: AdaptedModel,
    step_module: nn.Module,
    examples: tuple[Examples, Examples | None],
    config: TrainConfig,
    *,
    state: TrainState,
    mask: Mask,
    keep: KeptStates,
    checkpointer: Checkpointer,
    seed_for: Callable[[str], int],
    workers: Workers,
    on_epoch: OnEpoch,
) -> FitResult:
    """Train `model` in place under `mask` on `(train, val)` examples, from `state` or from a checkpoint.

    Args:
        examples: a final run has no val.
        step_module: `methods.step_module` as the workers wrap it.
        state: weights, optimizer and epoch to go on from; one beyond the schedule's end trains a whole schedule more.
        keep: what later rounds need of this one.
        checkpointer: read at the start, written after every epoch but the last.
        seed_for: gives the seed of a purpose; epoch `e` has the order `order/e` and the views `augment/e`, the same
            in every round.
        on_epoch: called with each record as soon as it exists, not with those of a checkpoint.

    Raises:
        TrainingDiverged: the loss is not finite, on every worker at once.
    """
    train, val = examples
    last = (state.epoch // config.epochs + 1) * config.epochs
    partial = checkpointer.load() or RoundCheckpoint(state=state)
    here = partial.state.under(mask)
    model.load_trained(here.weights)
    steps = OptimizerStepper(model, config, here, mask.on(train.labels.device), first=state.epoch)
    steps_per_epoch, history, kept = math.ceil(len(train.labels) / config.batch_size), [*partial.history], partial.kept
    model.health()  # a new period
    for epoch in range(partial.state.epoch, last):
        totals = torch.zeros(2, dtype=torch.float64, device=train.labels.device)
        order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed_for(f"order/{epoch}")))
        steps.begin_epoch(epoch, measure=keep.scores and epoch + 1 == last)
        shares = [_share(batch, workers) for batch in torch.split(order, config.batch_size)]
        inputs = train.batches([share.rows for share in shares], seed_for(f"augment/{epoch}"))
        for index, (share, batch) in enumerate(zip(shares, inputs, strict=True)):
            steps.set_rate(epoch * steps_per_epoch + index, config.epochs * steps_per_epoch)
            totals += _step(step_module, steps, batch, train.labels, share, config, model.head.auxiliary)
        health = solver_health.merged(workers.gather(model.health()))
        loss, train_accuracy = _means(workers.sum(totals), len(train.labels), epoch % config.epochs)
        val_accuracy, evaluation_health = (None, {}) if val is None else evaluate(model, val, config, workers)
        record = EpochRecord(
            epoch=epoch % config.epochs,
            loss=loss,
            train_accuracy=train_accuracy,
            health=health,
            val_accuracy=val_accuracy,
            evaluation_health=evaluation_health,
        )
        history.append(record)
        on_epoch(record)
        if epoch + 1 == keep.state_after:
            kept = steps.state(epoch + 1)
        if epoch + 1 < last:
            checkpointer.save(RoundCheckpoint(state=steps.state(epoch + 1), history=history, kept=kept))
    return FitResult(history=history, state=kept, scores=steps.scores())


def evaluate(
    model: AdaptedModel, examples: Examples, config: TrainConfig, workers: Workers
) -> tuple[float, dict[str, float]]:
    """Top-1 accuracy, 0 to 1, and the health of its solves; every example counts once, on one of the workers."""
    correct, health = hits(model, examples, config, workers)
    return int(correct.sum()) / len(correct), health


def hits(
    model: AdaptedModel, examples: Examples, config: TrainConfig, workers: Workers
) -> tuple[Tensor, dict[str, float]]:
    """Which examples are classified correctly (N,), 1 or 0, and the health of the solves."""
    model.health()  # what was solved before is not this evaluation's
    correct = workers.on_every_rank(lambda: _own_hits(model, examples, config, workers))
    health = solver_health.merged(workers.gather(model.health()))
    return workers.sum(correct), health


@torch.no_grad()
def _own_hits(model: AdaptedModel, examples: Examples, config: TrainConfig, workers: Workers) -> Tensor:
    """Of this worker's rows; 0 for those of others."""
    correct = torch.zeros(len(examples.labels), dtype=torch.int64, device=examples.labels.device)
    for rows, inputs in examples.in_order(torch.arange(workers.rank, len(examples.labels), workers.size)):
        with _autocast(config, correct.device):
            predicted = model.trained_part(inputs).argmax(dim=1)
        rows = rows.to(correct.device, non_blocking=True)
        correct[rows] = (predicted == examples.labels[rows]).long()
    return correct


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchShard:
    """A worker's rows of a global batch, and what its summed loss counts in the workers' mean of gradients."""

    rows: Tensor
    weight: float


def _share(batch: Tensor, workers: Workers) -> BatchShard:
    rows = batch[workers.rank :: workers.size]
    if len(rows) == 0:  # fewer examples than workers: take part in the averaging with a gradient of zero
        return BatchShard(rows=batch[:1], weight=0.0)
    return BatchShard(rows=rows, weight=workers.size / len(batch))


def _step(
    module: nn.Module,
    steps: OptimizerStepper,
    inputs: Tensor,
    all_labels: Tensor,
    share: BatchShard,
    config: TrainConfig,
    auxiliary: float = 0.0,
) -> Tensor:
    """One optimizer step on this worker's share of a global batch; returns its summed (loss, number correct)."""
    labels = all_labels[share.rows.to(all_labels.device, non_blocking=True)]
    with _autocast(config, labels.device):
        outputs = module(inputs).float()
    minimised, loss, logits = losses(outputs, labels, auxiliary)
    steps.take(minimised * share.weight)
    counted = torch.stack([loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()]).double()
    return counted if share.weight else torch.zeros_like(counted)


def _means(totals: Tensor, num_examples: int, epoch: int) -> tuple[float, float]:
    """Mean loss and accuracy of an epoch, from their sums over all workers."""
    loss, correct = (float(total) / num_examples for total in totals)
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"the training loss is {loss} in epoch {epoch}; lower train.lr or the prompts' lr_multiplier"
        )
    return loss, correct


def _autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")
