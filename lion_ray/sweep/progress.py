"""What a person sees while a sweep runs: one readable line per epoch, and how long it will still take.

`sweep` feeds it the events of all trials. "all have 2 rounds" says how far every experiment is that still trains; not
of a protocol's, whose stages differ. On a terminal the line of the moment is rewritten in place and finished rounds
stay; in a log every line stands for itself, without control codes.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TextIO

from lion_ray.config import BudgetConfig
from lion_ray.console import clock, one_row
from lion_ray.experiments import Experiment
from lion_ray.lottery import WINNING
from lion_ray.sweep.events import EpochDone

OUTAGE_SECONDS = 5.0
SPARE, LAST = ("density", "loss", "all have"), ("val", "epoch")  # what a narrow terminal does without, in this order


@dataclasses.dataclass
class Progress:
    """Counts epochs over all experiments and prints; `now` and `stream` are arguments so that tests can hold them."""

    experiments: Sequence[Experiment]  # final runs whose setting is not chosen yet are stand-ins
    done: Mapping[str, Collection[tuple[int, str]]]  # by name, the (round, ticket) that are in the store
    concurrency: int = 1
    budget: BudgetConfig | None = None
    seconds_before: float = 0.0  # that earlier runs have spent of the budget
    stream: TextIO = dataclasses.field(default_factory=lambda: sys.stdout)
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._by_name = {experiment.name: experiment for experiment in self.experiments}
        self._started, self._outage_said = self.now(), -math.inf
        self._trained = {each.name: set(self.done.get(each.name, ())) for each in self.experiments}
        self._stopped: set[str] = set()
        self._warned: set[str] = set()
        self._seconds: dict[str, list[float]] = defaultdict(list)  # per epoch, by method
        self._left = {each.name: self._epochs_beside(each) for each in self.experiments}
        self._in_place = self.stream.isatty()

    def show(self, event: EpochDone) -> None:
        """Count and print one epoch."""
        experiment = self._by_name[event.experiment]
        self._seconds[experiment.method.name].append(event.seconds)
        is_last = event.epoch + 1 == experiment.train.epochs
        training = (event.round, event.ticket)
        if experiment.name not in self._stopped:  # its workers may train on for a moment after it was stopped
            self._left[experiment.name] = self._epochs_beside(experiment, training) - event.epoch - 1
        if is_last:
            self._trained[experiment.name].add(training)
        stays, parts = is_last or not self._in_place, self._parts(experiment, event)
        self._print(
            "  ".join(parts) if stays else one_row(parts, spare=SPARE, last=LAST, name=experiment.label), stays=stays
        )
        if event.share_unconverged:
            share = f"{event.share_unconverged:.1%}"
            self._print(f"WARNING {experiment.label}: {share} of the equilibrium solves did not converge", stays=True)

    def admit(self, runs: Sequence[Experiment], stand_ins: Sequence[str]) -> None:
        """Final runs take the place of their stand-ins, which are given by name."""
        for name in stand_ins:
            del self._by_name[name], self._trained[name], self._left[name]
        for run in runs:
            self._by_name[run.name], self._trained[run.name] = run, set()
            self._left[run.name] = self._epochs_beside(run)

    def show_stop(self, name: str, how: str) -> None:
        """Count and print that an experiment trains no further."""
        experiment = self._by_name.get(name)
        if experiment is None:  # nothing of it was left to be trained
            return
        self._left[name] = 0
        self._stopped.add(name)
        self._print(f"{experiment.label}: {how}", stays=True)

    def show_warning(self, line: str) -> None:
        """Print it once, however many workers and repetitions say it."""
        if line not in self._warned:
            self._warned.add(line)
            self._print(f"WARNING {line}", stays=True)

    def show_outage(self, line: str) -> None:
        """Print that the storage does not answer; of what many trials say at once, one line every few seconds."""
        if self.now() - self._outage_said >= OUTAGE_SECONDS:
            self._outage_said = self.now()
            self._print(line, stays=True)

    def finish(self) -> None:
        """Leave the cursor on a fresh line."""
        if self._in_place:
            self.stream.write("\r\x1b[K")
            self.stream.flush()

    def seconds_left(self) -> float | None:
        """The mean epoch of each method times what is left of it, spread over the trials that run at once.

        Never more than the study's budget leaves. None while a method that is still to come has not shown how long its
        epochs take.
        """
        known = [self._seconds_of_training()]
        if self.budget is not None and self.budget.hours is not None:
            spent = self.seconds_before + self.now() - self._started
            known.append(max(0.0, 3600 * self.budget.hours - spent))
        return min((seconds for seconds in known if seconds is not None), default=None)

    def _seconds_of_training(self) -> float | None:
        total, running = 0.0, 0
        for name, epochs in self._left.items():
            measured = self._seconds[self._by_name[name].method.name]
            if epochs and not measured:
                return None
            if epochs:
                total, running = total + epochs * sum(measured) / len(measured), running + 1
        return total * self._share_of_budget() / max(1, min(self.concurrency, running))

    def _share_of_budget(self) -> float:
        """How much of what is left the budget's rounds allow."""
        if self.budget is None or self.budget.rounds is None:
            return 1.0
        finished = {**self.done, **self._trained}
        done = sum(ticket == WINNING for trained in finished.values() for _, ticket in trained)
        still = (each for each in self._by_name.values() if self._left[each.name])
        wanted = sum(each.num_rounds - self._num_rounds(each.name) for each in still)
        return min(1.0, max(0, self.budget.rounds - done) / max(1, wanted))

    def _epochs_beside(self, experiment: Experiment, *training: tuple[int, str]) -> int:
        """The epochs of all trainings that are not done, `training` counted as if it began now."""
        num_done = len(self._trained[experiment.name].difference(training))
        return (num_trained(experiment, experiment.num_rounds) - num_done) * experiment.train.epochs

    def _num_rounds(self, name: str) -> int:
        return sum(ticket == WINNING for _, ticket in self._trained[name])

    def _parts(self, experiment: Experiment, event: EpochDone) -> list[str]:
        left = self.seconds_left()
        done = sum(1 for epochs in self._left.values() if epochs == 0)
        still = [name for name, epochs in self._left.items() if epochs and experiment.stage is None]
        least = min(map(self._num_rounds, still), default=None)
        return [
            clock(self.now() - self._started),
            f"{done}/{len(self._by_name)} done",
            *([] if least is None else [f"all have {least} round{'s' * (least != 1)}"]),
            experiment.label,
            f"round {event.round}/{experiment.num_rounds - 1}"
            + (f" {event.ticket}" if event.ticket != WINNING else ""),
            f"epoch {event.epoch + 1}/{experiment.train.epochs}",
            f"loss {event.loss:.3f}",
            *([] if event.val_accuracy is None else [f"val {event.val_accuracy:.3f}"]),
            f"density {event.density:.3f}",
            f"left {'?' if left is None else clock(left)}",
        ]

    def _print(self, line: str, *, stays: bool) -> None:
        if self._in_place:
            line = f"\r\x1b[K{line}"
        self.stream.write(line + ("\n" if stays else ""))
        self.stream.flush()


def num_trained(experiment: Experiment, rounds: int) -> int:
    """How often `rounds` rounds train: each pruned one also trains its controls."""
    return rounds + max(0, rounds - 1) * len(experiment.controls)
