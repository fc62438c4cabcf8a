"""The lottery on one screen: prune, rewind, retrain (docs/method.md, *Lottery rounds*; Frankle & Carbin, ICLR 2019).

`lion_ray.trial` supplies the two collaborators: a `Trainer` that trains masked weights for one round, and a
`RoundStore` that stores finished rounds. A stored round is never trained again, so running and resuming are the same.
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
    """Trains the rounds of one experiment."""

    def seed_for(self, purpose: str) -> int:
        """The seed of the experiment for one purpose, such as `reinit/2`."""

    def start(self, purpose: str = "start") -> Mapping[str, Tensor]:
        """The trained weights at initialisation. The same purpose always gives the same bits."""

    def prunable(self) -> Sequence[str]:
        """The names of the prunable weights."""

    def train(self, number: int, state: TrainState, mask: Mask, ticket: str, checkpointer: Checkpointer) -> Round:
        """Train one round to the end of its schedule.

        Args:
            number: the number of the round.
            state: the state to start from, with pruned weights 0.
            mask: the mask of the round.
            ticket: `WINNING` or the name of a control.
            checkpointer: the round continues from its checkpoint, if there is one.
        """


class RoundStore(Protocol):
    """Stores the initial weights and the finished rounds of one experiment."""

    def start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The stored initial weights. Without them `make` is called and its weights are stored."""

    def load(self, number: int, ticket: str = WINNING) -> Round | None:
        """The stored round, or None."""

    def commit(self, finished: Round) -> None:
        """Store a round, at the latest when `flush` returns."""

    def flush(self) -> None:
        """Wait until every committed round is stored."""

    def checkpointer(self, number: int, ticket: str, mask: Mask) -> Checkpointer:
        """The checkpointer of one unfinished round. Checkpoints under another mask do not count."""

    def once(self, make: Callable[[], Value]) -> Value:
        """The value of `make()`, which one worker computes for all workers."""


def run_rounds(config: LotteryConfig, trainer: Trainer, stored_rounds: RoundStore) -> Iterator[Round]:
    """Yield the dense round 0, then one round per pruning, until the last one or until `should_stop`.

    The controls of a round are stored before the round is yielded, so a caller may stop after any round.

    Args:
        config: how tickets are found, and which controls are trained.
        trainer: trains one round.
        stored_rounds: stores the initial weights and finished rounds.
    """
    start = TrainState(weights=stored_rounds.start(trainer.start))
    first: Round | None = None
    last: Round | None = None
    accuracies: list[float] = []
    for number in range(num_rounds(config, trainer.prunable())):
        mask = stored_rounds.once(partial(_next_mask, last, start, trainer, config))
        state = rewound(first, last, start, config)
        finished = _stored_or_trained(number, state, mask, WINNING, trainer, stored_rounds)
        if number:
            _train_controls(number, state, mask, config, trainer, stored_rounds)
        stored_rounds.flush()
        first, last = first or finished, finished
        yield finished
        accuracies.append(finished.val_accuracy)
        if should_stop(accuracies, config):
            return


def _next_mask(last: Round | None, start: TrainState, trainer: Trainer, config: LotteryConfig) -> Mask:
    """The dense mask for round 0, later the last mask pruned by the scores of the last round."""
    if last is None:
        return Mask.dense({name: start.weights[name] for name in trainer.prunable()})
    scores = criteria.scores(config.criterion, last, trainer.seed_for)
    return prune(scores, last.mask, config, last.number + 1)


def rewound(first: Round | None, last: Round | None, start: TrainState, config: LotteryConfig) -> TrainState:
    """The state that the next round starts from, before its mask is applied.

    Args:
        first: round 0; None before it.
        last: the last round; None before round 0.
        start: the state at initialisation.
        config: its `rewind` selects the state.
    """
    if first is None or last is None or config.rewind == "init":
        return start
    if config.rewind == "learning_rate":
        return TrainState(weights=last.weights)
    state = (first if isinstance(config.rewind, RewindEpoch) else last).state
    assert state is not None, "the trainer keeps the state that `rewind` names"
    return state


def _train_controls(
    number: int, state: TrainState, mask: Mask, config: LotteryConfig, trainer: Trainer, stored_rounds: RoundStore
) -> None:
    """Train the controls beside round `number`, from the state and the mask of its winning ticket."""
    for control in config.controls:
        purpose = f"{control}/{number}"
        if control == "reinit":
            fresh = TrainState(weights=stored_rounds.once(partial(trainer.start, purpose)))
            _stored_or_trained(number, fresh, mask, control, trainer, stored_rounds)
        else:
            drawn = stored_rounds.once(partial(random_mask, mask, trainer.seed_for(purpose)))
            _stored_or_trained(number, state, drawn, control, trainer, stored_rounds)


def _stored_or_trained(
    number: int, state: TrainState, mask: Mask, ticket: str, trainer: Trainer, stored_rounds: RoundStore
) -> Round:
    """The stored round if it has this mask; otherwise the round is trained and stored."""
    stored = stored_rounds.load(number, ticket)
    if stored is not None and stored.mask.equals(mask):
        return stored
    finished = trainer.train(number, state.under(mask), mask, ticket, stored_rounds.checkpointer(number, ticket, mask))
    stored_rounds.commit(finished)
    return finished


def num_rounds(config: LotteryConfig, prunable: Sequence[str]) -> int:
    """The number of rounds: `config.rounds`, or 1 for a method without prunable weights."""
    return config.rounds if prunable else 1


def should_stop(val_accuracies: Sequence[float], config: LotteryConfig) -> bool:
    """Whether the last `patience` rounds all fell more than `tolerance` below round 0.

    Args:
        val_accuracies: validation accuracies of rounds 0, 1, ..., from 0 to 1.
        config: `tolerance` (None never stops) and `patience`.
    """
    if config.tolerance is None:
        return False
    latest = val_accuracies[1:][-config.patience :]
    floor = val_accuracies[0] - config.tolerance
    return len(latest) == config.patience and all(accuracy < floor for accuracy in latest)
