"""The lottery on one screen: prune, rewind, retrain (docs/method.md, *Lottery rounds*; Frankle & Carbin, ICLR 2019).

`trial` supplies the two collaborators: a `Trainer` that trains masked weights for one round and a `RoundStore` that
keeps finished rounds. A round that is stored is never trained again, so running and resuming are the same thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from torch import Tensor

from lion_ray.config import LotteryConfig, RewindEpoch
from lion_ray.lottery import criteria
from lion_ray.lottery.controls import random_mask
from lion_ray.lottery.mask import Mask
from lion_ray.lottery.pruning import prune
from lion_ray.lottery.round import WINNING, Checkpointer, Round, TrainState

Value = TypeVar("Value")


class Trainer(Protocol):
    """Trains one experiment's rounds."""

    def seed_for(self, purpose: str) -> int:
        """The experiment's seed for one purpose."""

    def start(self, purpose: str = "start") -> Mapping[str, Tensor]:
        """The weights at initialisation, the same bits every time for one purpose."""

    def prunable(self) -> Sequence[str]:
        """The names of the weights that a mask may cover."""

    def train(self, number: int, state: TrainState, mask: Mask, ticket: str, checkpointer: Checkpointer) -> Round:
        """Train from `state` under `mask`, or from where `checkpointer` left off, to the end of the schedule."""


class RoundStore(Protocol):
    """Keeps the start and finished rounds."""

    def start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The kept weights at initialisation, or `make()`'s, kept from now on."""

    def load(self, number: int, ticket: str = WINNING) -> Round | None:
        """The committed round, or None."""

    def commit(self, finished: Round) -> None:
        """Keep a round for good, now or until `flush`."""

    def flush(self) -> None:
        """Return when everything committed is kept."""

    def checkpointer(self, number: int, ticket: str, mask: Mask) -> Checkpointer:
        """Where the unfinished round is kept."""

    def once(self, make: Callable[[], Value]) -> Value:
        """`make()`, computed by one worker for all."""


def run_rounds(config: LotteryConfig, trainer: Trainer, stored_rounds: RoundStore) -> Iterator[Round]:
    """Yield round 0 (dense), then one round per pruning, until the last or until `should_stop`.

    The controls of a round are stored before it is yielded: whoever stops here leaves nothing half done.
    """
    start = TrainState(weights=stored_rounds.start(trainer.start))
    first: Round | None = None
    last: Round | None = None
    accuracies: list[float] = []
    for number in range(num_rounds(config, trainer.prunable())):
        mask = stored_rounds.once(partial(_next_mask, last, start, trainer, config))
        state = rewound(first, last, start, config)
        finished = _kept_or_trained(number, state, mask, WINNING, trainer, stored_rounds)
        if number:
            _train_controls(number, state, mask, config, trainer, stored_rounds)
        stored_rounds.flush()
        first, last = first or finished, finished
        yield finished
        accuracies.append(finished.val_accuracy)
        if should_stop(accuracies, config):
            return


def _next_mask(last: Round | None, start: TrainState, trainer: Trainer, config: LotteryConfig) -> Mask:
    """Dense before round 0, then pruned by what the last round trained."""
    if last is None:
        return Mask.dense({name: start.weights[name] for name in trainer.prunable()})
    scores = criteria.scores(config.criterion, last, trainer.seed_for)
    return prune(scores, last.mask, config, last.number + 1)


def rewound(first: Round | None, last: Round | None, start: TrainState, config: LotteryConfig) -> TrainState:
    """Where the next round starts, before its mask: what `rewind` says of round 0 and the last round."""
    if first is None or last is None or config.rewind == "init":
        return start
    if config.rewind == "learning_rate":
        return TrainState(weights=last.weights)
    kept = (first if isinstance(config.rewind, RewindEpoch) else last).state
    assert kept is not None, "the trainer keeps the state that `rewind` names"
    return kept


def _train_controls(
    number: int, state: TrainState, mask: Mask, config: LotteryConfig, trainer: Trainer, stored_rounds: RoundStore
) -> None:
    """The branches beside round `number`, from the state and the mask that its winning ticket had."""
    for control in config.controls:
        purpose = f"{control}/{number}"
        if control == "reinit":
            fresh = TrainState(weights=stored_rounds.once(partial(trainer.start, purpose)))
            _kept_or_trained(number, fresh, mask, control, trainer, stored_rounds)
        else:
            drawn = stored_rounds.once(partial(random_mask, mask, trainer.seed_for(purpose)))
            _kept_or_trained(number, state, drawn, control, trainer, stored_rounds)


def _kept_or_trained(
    number: int, state: TrainState, mask: Mask, ticket: str, trainer: Trainer, stored_rounds: RoundStore
) -> Round:
    """The stored round if it follows from what came before, else one trained and kept now."""
    kept = stored_rounds.load(number, ticket)
    if kept is not None and kept.mask.equals(mask):
        return kept
    finished = trainer.train(number, state.under(mask), mask, ticket, stored_rounds.checkpointer(number, ticket, mask))
    stored_rounds.commit(finished)
    return finished


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
