"""What a round starts from, where it stands and what it leaves: values that all else in the lottery passes around."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from torch import Tensor

from lion_ray.lottery.mask import Mask, Weights
from lion_ray.lottery.records import EpochRecord, RoundMetrics

WINNING = "winning"  # the ticket that the lottery itself found; the others are named by their control


def cut_off(prompts: Sequence[str]) -> str:
    """What it means that `prompts` have no path from their input to their output; empty for none."""
    if not prompts:
        return ""
    named, it = " and ".join(prompts) + " prompt" + "s" * (len(prompts) > 1), "they add" if prompts[1:] else "it adds"
    return (
        f"pruning has left the {named} no path from input to output, so {it} the same to every image; "
        "use lottery.scope: layer, or prune less"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """A state of training: all trained weights, the optimizer's tensors, and the epochs that lie behind it.

    `optimizer` holds `<weight>/<state>`, such as `head.prompt.V/exp_avg`; it is empty for a fresh optimizer.
    """

    weights: Weights
    optimizer: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    epoch: int = 0

    def under(self, mask: Mask) -> TrainState:
        """The same state with pruned weights 0, and no momentum left of them."""
        optimizer = {key: tensor.clone() for key, tensor in self.optimizer.items()}
        for key, tensor in optimizer.items():
            alive = mask.alive.get(key.rpartition("/")[0])
            if alive is not None and tensor.shape == alive.shape:
                tensor.masked_fill_(~alive, 0.0)
        return dataclasses.replace(self, weights=mask.applied(self.weights), optimizer=optimizer)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundCheckpoint:
    """A round that is not finished: the state after its last epoch, the records so far, the state kept for `rewind`."""

    state: TrainState
    history: Sequence[EpochRecord] = ()
    kept: TrainState | None = None


class Checkpointer(Protocol):
    """Where an unfinished round is kept, so that an interruption costs one epoch."""

    def load(self) -> RoundCheckpoint | None:
        """What was saved last, if the round is still the same."""

    def save(self, partial: RoundCheckpoint) -> None:
        """Keep `partial`, at once or, if the last one is fresh, not at all."""


class NoCheckpoints:
    """An interruption costs the round."""

    def load(self) -> RoundCheckpoint | None:
        """Nothing."""
        return None

    def save(self, partial: RoundCheckpoint) -> None:
        """Nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """A finished round: the trained weights (pruned entries 0), the mask they were trained under, what was measured.

    `state` is where later rounds start, if `rewind` says that they start from this one; `scores` is what the criterion
    measured, if it measures.
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
        """A line about prompts that no surviving weights lead through; empty if there are none."""
        return cut_off(self.metrics.without_path)

    @property
    def val_accuracy(self) -> float:
        """Validation accuracy after the last epoch, 0 to 1; nan of a final run, which has none."""
        return math.nan if self.metrics.val_accuracy is None else self.metrics.val_accuracy
