"""The values of a round: the state that it starts from, the checkpoint of an unfinished round, and a finished round.

`lion_ray.training`, `lion_ray.trial` and `lion_ray.lottery.rounds` pass them to each other.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from lion_ray.lottery.mask import Mask, Weights
from lion_ray.lottery.records import EpochRecord, RoundMetrics

WINNING = "winning"  # the ticket of the lottery itself; the other tickets have the name of their control


def control_of(ticket: str) -> str:
    """The name of the control that a ticket belongs to; empty for the winning ticket."""
    return "" if ticket == WINNING else ticket


def cut_off(prompts: Sequence[str]) -> str:
    """The warning that `prompts` have no path from their input to their output; empty without such prompts."""
    if not prompts:
        return ""
    names = " and ".join(prompts) + " prompt" + "s" * (len(prompts) > 1)
    effect = "they add" if prompts[1:] else "it adds"
    return (
        f"pruning has left the {names} no path from input to output, so {effect} the same to every image; "
        "use lottery.scope: layer, or prune less"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """A state of training: all trained weights, the optimizer's tensors, and the number of epochs trained so far.

    The keys of `optimizer` are `<weight>/<state>`, such as `head.prompt.V/exp_avg`. It is empty for a fresh optimizer.
    """

    weights: Weights
    optimizer: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    epoch: int = 0

    def under(self, mask: Mask) -> TrainState:
        """A copy of this state in which pruned weights and their optimizer moments are 0."""
        optimizer = {key: tensor.clone() for key, tensor in self.optimizer.items()}
        for key, tensor in optimizer.items():
            alive = mask.alive.get(key.rpartition("/")[0])
            if alive is not None and tensor.shape == alive.shape:
                tensor.masked_fill_(~alive, 0.0)
        return dataclasses.replace(self, weights=mask.applied(self.weights), optimizer=optimizer)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundCheckpoint:
    """A round that is not finished.

    `state` is the state after its last epoch, `history` the records so far, and `kept` the state that later rounds
    rewind to, if the round has passed it.
    """

    state: TrainState
    history: Sequence[EpochRecord] = ()
    kept: TrainState | None = None


class Checkpointer(Protocol):
    """Saves and loads an unfinished round, so that an interruption costs at most one epoch."""

    def load(self) -> RoundCheckpoint | None:
        """The checkpoint that was saved last; None if there is none of a round under the same mask."""

    def save(self, checkpoint: RoundCheckpoint) -> None:
        """Save `checkpoint`. It may be skipped if the last one is only seconds old."""


class NoCheckpoints:
    """A `Checkpointer` that saves nothing, so an interruption costs the whole round."""

    def load(self) -> RoundCheckpoint | None:
        """There is never a checkpoint."""
        return None

    def save(self, checkpoint: RoundCheckpoint) -> None:
        """Discard the checkpoint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """A finished round: its trained weights (pruned entries are 0), the mask of its training, and its metrics.

    `ticket` is `WINNING` or the name of a control. `state` is set if `rewind` lets later rounds start from this one.
    `scores` holds the scores of the criterion `gradient_weight`, otherwise it is empty.
    """

    number: int
    weights: Weights
    mask: Mask
    metrics: RoundMetrics
    ticket: str = WINNING
    state: TrainState | None = None
    scores: Weights = dataclasses.field(default_factory=dict)

    @property
    def cut_off(self) -> str:
        """The warning about prompts without a path from input to output; empty if there are none."""
        return cut_off(self.metrics.without_path)

    @property
    def val_accuracy(self) -> float:
        """The validation accuracy after the last epoch, 0 to 1; NaN for a final run, which has no val split."""
        return math.nan if self.metrics.val_accuracy is None else self.metrics.val_accuracy
