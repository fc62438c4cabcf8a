"""One round of training in plain PyTorch, and evaluation. `lion_ray.trial` calls it in any process.

Every random draw depends only on the seeds that are passed in, so a round that is started again gives the same bits.
Several workers split each global batch and do not enlarge it, so their number changes the speed and, up to rounding,
nothing else.
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
    """The loss or a weight is NaN or infinite."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeptStates:
    """What is kept of a round for later rounds.

    `state_after` is the number of epochs after which the state is kept (None keeps no state). `scores` says whether
    |g ⊙ w| of the last epoch is measured.
    """

    state_after: int | None = None
    scores: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """The result of a round's training, beside the weights in the model.

    `history` has one record per epoch. `state` and `scores` are what `KeptStates` asked for (None or empty without).
    """

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
        model: the model on the training device; its weights are overwritten.
        step_module: `methods.step_module` of the model, wrapped by `workers`.
        examples: the training and the validation examples; a final run has None for the latter.
        config: the `train` section.
        state: weights, optimizer and epoch to start from. If its epoch lies at the end of a schedule, a whole further
            schedule is trained.
        mask: the mask of the round.
        keep: what is kept for later rounds.
        checkpointer: read at the start, written after every epoch except the last.
        seed_for: gives the seed for a purpose. Epoch `e` orders its images by `order/e` and augments them by
            `augment/e`, the same in every round.
        workers: the workers that share each batch.
        on_epoch: called with each new record, not with those of a checkpoint.

    Raises:
        TrainingDiverged: the loss is not finite. It is raised on every worker.
    """
    train, val = examples
    last = (state.epoch // config.epochs + 1) * config.epochs
    checkpoint = checkpointer.load() or RoundCheckpoint(state=state)
    current = checkpoint.state.under(mask)
    model.load_trained(current.weights)
    steps = OptimizerStepper(model, config, current, mask.on(train.labels.device), first=state.epoch)
    steps_per_epoch = math.ceil(len(train.labels) / config.batch_size)
    history, kept = [*checkpoint.history], checkpoint.kept
    model.health()  # reset the figures
    for epoch in range(checkpoint.state.epoch, last):
        totals = torch.zeros(2, dtype=torch.float64, device=train.labels.device)
        order = torch.randperm(len(train.labels), generator=torch.Generator().manual_seed(seed_for(f"order/{epoch}")))
        steps.begin_epoch(epoch, measure=keep.scores and epoch + 1 == last)
        shards = [_shard(batch, workers) for batch in torch.split(order, config.batch_size)]
        inputs = train.batches([shard.rows for shard in shards], seed_for(f"augment/{epoch}"))
        for index, (shard, batch) in enumerate(zip(shards, inputs, strict=True)):
            steps.set_rate(epoch * steps_per_epoch + index, config.epochs * steps_per_epoch)
            totals += _step(step_module, steps, batch, train.labels, shard, config, model.head.auxiliary)
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
    """The top-1 accuracy (0 to 1) and the solver health of the evaluation.

    Args:
        model: the model.
        examples: the examples; each is evaluated by one of the workers.
        config: the `train` section, for the precision.
        workers: the workers that share the examples.
    """
    correct, health = correctly_classified(model, examples, config, workers)
    return int(correct.sum()) / len(correct), health


def correctly_classified(
    model: AdaptedModel, examples: Examples, config: TrainConfig, workers: Workers
) -> tuple[Tensor, dict[str, float]]:
    """For each example 1 if it is classified correctly and otherwise 0, int64 (N,), and the solver health.

    Args:
        model: the model.
        examples: the N examples.
        config: the `train` section, for the precision.
        workers: the workers that share the examples.
    """
    model.health()  # discard the figures of earlier solves
    correct = workers.on_every_rank(lambda: _correct_on_this_rank(model, examples, config, workers))
    health = solver_health.merged(workers.gather(model.health()))
    return workers.sum(correct), health


@torch.no_grad()
def _correct_on_this_rank(model: AdaptedModel, examples: Examples, config: TrainConfig, workers: Workers) -> Tensor:
    """1 for each correctly classified row of this worker; 0 for its other rows and those of other workers."""
    correct = torch.zeros(len(examples.labels), dtype=torch.int64, device=examples.labels.device)
    for rows, inputs in examples.in_order(torch.arange(workers.rank, len(examples.labels), workers.size)):
        with _autocast(config, correct.device):
            predicted = model.trained_part(inputs).argmax(dim=1)
        rows = rows.to(correct.device, non_blocking=True)
        correct[rows] = (predicted == examples.labels[rows]).long()
    return correct


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchShard:
    """The rows of a global batch that this worker trains on, and the factor of its loss.

    With the factor `weight` the mean of the workers' gradients equals the gradient of the global batch.
    """

    rows: Tensor
    weight: float


def _shard(batch: Tensor, workers: Workers) -> BatchShard:
    rows = batch[workers.rank :: workers.size]
    if len(rows) == 0:  # fewer examples than workers: this one joins the averaging with a gradient of zero
        return BatchShard(rows=batch[:1], weight=0.0)
    return BatchShard(rows=rows, weight=workers.size / len(batch))


def _step(
    module: nn.Module,
    steps: OptimizerStepper,
    inputs: Tensor,
    all_labels: Tensor,
    shard: BatchShard,
    config: TrainConfig,
    auxiliary: float = 0.0,
) -> Tensor:
    """Take one optimizer step on this worker's rows; return their summed loss and number of correct ones, (2,)."""
    labels = all_labels[shard.rows.to(all_labels.device, non_blocking=True)]
    with _autocast(config, labels.device):
        outputs = module(inputs).float()
    minimised, loss, logits = losses(outputs, labels, auxiliary)
    steps.take(minimised * shard.weight)
    totals = torch.stack([loss.detach(), (logits.detach().argmax(dim=1) == labels).sum()]).double()
    return totals if shard.weight else torch.zeros_like(totals)


def _means(totals: Tensor, num_examples: int, epoch: int) -> tuple[float, float]:
    """The mean loss and the accuracy of an epoch, from their sums over all workers."""
    loss, correct = (float(total) / num_examples for total in totals)
    if not math.isfinite(loss):
        raise TrainingDiverged(
            f"the training loss is {loss} in epoch {epoch}; lower train.lr or the prompts' lr_multiplier"
        )
    return loss, correct


def _autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")
