"""The lottery on one screen: prune, rewind, retrain (METHOD.md, *Lottery rounds*; Frankle & Carbin, ICLR 2019).

`trial` supplies the two collaborators: a `Trainer` that trains masked weights for one round and a `Ledger` that keeps
finished rounds. A round that is in the ledger is never trained again, so running and resuming are the same thing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from lion_ray.config import LotteryConfig
from lion_ray.lottery.mask import Mask
from lion_ray.lottery.pruning import prune


@dataclasses.dataclass(frozen=True, kw_only=True)
class Round:
    """A finished round: the trained weights (pruned entries 0), the mask they were trained under, what was measured."""

    number: int
    weights: Mapping[str, Tensor]
    mask: Mask
    metrics: Mapping[str, Any]

    @property
    def val_accuracy(self) -> float:
        """Validation accuracy after the last epoch, 0 to 1."""
        return float(self.metrics["val_accuracy"])


class Trainer(Protocol):
    """Trains one experiment's rounds."""

    def start(self) -> Mapping[str, Tensor]:
        """The weights at initialisation, the same bits every time."""

    def prunable(self) -> Sequence[str]:
        """The names of the weights that a mask may cover."""

    def train(self, number: int, weights: Mapping[str, Tensor], mask: Mask) -> Round:
        """Train `weights` under `mask` from a fresh optimizer, schedule and data order."""


class Ledger(Protocol):
    """Keeps the start and finished rounds."""

    def start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The kept weights at initialisation, or `make()`'s, kept from now on."""

    def load(self, number: int) -> Round | None:
        """The committed round, or None."""

    def commit(self, finished: Round) -> None:
        """Keep a round for good."""


def run_rounds(config: LotteryConfig, trainer: Trainer, ledger: Ledger) -> Iterator[Round]:
    """Yield round 0 (dense), then one round per pruning, until the last or until `should_stop`."""
    start = ledger.start(trainer.start)
    accuracies: list[float] = []
    finished: Round | None = None
    for number in range(num_rounds(config, trainer.prunable())):
        mask = _next_mask(finished, start, trainer.prunable(), config)
        finished = ledger.load(number)
        if finished is None or not finished.mask.equals(mask):  # a kept round counts only if it follows from the last
            finished = trainer.train(number, mask.applied(start), mask)  # rewind the survivors, retrain
            ledger.commit(finished)
        yield finished
        accuracies.append(finished.val_accuracy)
        if should_stop(accuracies, config):
            return


def _next_mask(
    previous: Round | None, start: Mapping[str, Tensor], prunable: Sequence[str], config: LotteryConfig
) -> Mask:
    """Dense before round 0, then pruned from what the previous round trained."""
    if previous is None:
        return Mask.dense({name: start[name] for name in prunable})
    return prune(previous.weights, previous.mask, config)


def num_rounds(config: LotteryConfig, prunable: Sequence[str]) -> int:
    """A method with nothing to prune trains once."""
    return config.rounds if prunable else 1


def should_stop(val_accuracies: Sequence[float], config: LotteryConfig) -> bool:
    """Whether the last `patience` rounds all fell more than `tolerance` below round 0 (validation accuracy only)."""
    if config.tolerance is None:
        return False
    latest = val_accuracies[1:][-config.patience :]
    floor = val_accuracies[0] - config.tolerance
    return len(latest) == config.patience and all(accuracy < floor for accuracy in latest)
