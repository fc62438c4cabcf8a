"""Who trains next and for how long: early rounds of every experiment before late rounds of one.

So a sweep that ends half-way has an answer for every dataset. A turn ends after `rounds_per_turn` rounds if somebody
else comes first by then, or when `verdicts` or the study's budget say so. No Ray: `tuning` hands this to Ray Tune.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from lion_ray.config import SchedulerConfig
from lion_ray.experiments import Experiment
from lion_ray.schedule.stopping import ExperimentState, OnStop, StoppingDecisions
from lion_ray.study.decisions import BUDGET, Decisions
from lion_ray.study.plan import Plan, PlannedExperiment

Follow = Callable[[Experiment, Mapping[str, ExperimentState]], Sequence[PlannedExperiment]]


class TrainingOrder:
    """The turns of all experiments of a plan.

    Args:
        workers: of one experiment; they settle how long a turn is if the scheduler section does not.
        on_stop: called for every stop of this run, once it is in the store.
        follow: what comes into being now that one experiment stands where its seat says; see `stages.Following`.
        is_halted: whether the sweep has to end as it is: nobody goes on, and nothing more is decided.
        now: seconds; an argument so that tests can hold it.
    """

    def __init__(
        self,
        plan: Plan,
        config: SchedulerConfig,
        decisions: Decisions,
        *,
        workers: int = 1,
        on_stop: OnStop = lambda *_: None,
        follow: Follow = lambda *_: (),
        is_halted: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget, self._decisions, self._now = config.budget, decisions, now
        self._is_halted = is_halted
        self._rounds_per_turn = config.rounds_per_turn or (1 if workers == 1 else None)
        self._seconds_before, self._since = decisions.seconds, now()
        self._verdicts = StoppingDecisions(plan, config, decisions, on_stop)
        self._seats = self._verdicts.seats
        self._follow = follow
        staged = [seat.experiment.entry for seat in self._seats.values() if seat.experiment.stage]
        self._groups = {entry: place for place, entry in enumerate(dict.fromkeys(staged))}
        for name in list(self._seats):
            self._welcome(name)

    @property
    def is_over(self) -> bool:
        """Whether nobody will train any more."""
        if self._is_halted():
            return True
        self._stop_if_spent()
        return all(seat.state == "over" for seat in self._seats.values())

    def is_over_for(self, name: str) -> bool:
        """Whether one experiment will train no more."""
        return self._seats[name].state == "over"

    def next(self) -> Experiment | None:
        """Who starts a turn: of those that wait the one with the fewest rounds, in the study's order; or nobody."""
        if self._is_halted():
            return None
        self._stop_if_spent()
        seats = self._seats.values()
        if not any(seat.state in ("waiting", "running") for seat in seats):
            for seat in (seat for seat in seats if seat.state == "held"):
                seat.state = "waiting"  # no scheduler may bring a sweep to a standstill
        waiting = [seat for seat in seats if seat.state == "waiting"]
        if not waiting:
            return None
        chosen = min(waiting, key=self._rank)  # of equals the first in the study
        chosen.state, chosen.turn = "running", 0
        return chosen.experiment

    def on_round(self, name: str, number: int, val_accuracy: float) -> bool:
        """Round `number` of a running experiment is in the store: whether it trains on at once.

        Rounds that are known already, and those up to a stop, just pass.
        """
        if self._is_halted():
            return False
        goes_on = self._goes_on(self._seats[name], number, val_accuracy)
        self._welcome(name)
        return goes_on

    def on_end(self, name: str) -> None:
        """The experiment's process has ended. If nobody had ended its turn it is over, in good or bad order."""
        seat = self._seats[name]
        if seat.state == "running":
            seat.state = "over"
            if not self._is_halted():
                self._verdicts.leave(seat)
                self._welcome(name)

    def _goes_on(self, seat: ExperimentState, number: int, val_accuracy: float) -> bool:
        if number < len(seat.accuracies) or seat.last is not None:
            return self._pass(seat, number, val_accuracy)
        seat.turn += 1
        self._verdicts.decide(seat, val_accuracy)
        self._write_clock()
        if seat.state != "running" or not seat.trains_on:
            return seat.state == "running"  # with nothing left to train its process ends by itself
        seat.state = "held" if self._verdicts.is_held(seat) else "waiting"
        self._stop_if_spent()
        if seat.state == "waiting" and not (self._is_turn_over(seat) and self._somebody_comes_first(seat)):
            seat.state = "running"
        return seat.state == "running"

    def _pass(self, seat: ExperimentState, number: int, val_accuracy: float) -> bool:
        if number == len(seat.accuracies):
            seat.accuracies.append(val_accuracy)
        if seat.last is not None and number >= seat.last:
            seat.state = "over"
        return seat.state == "running"

    def _stop_if_spent(self) -> None:
        """Once rounds that are done or being trained use up the budget, or time has, all who are not training stop."""
        if self._budget is None:
            return
        seats = list(self._seats.values())
        rounds = sum(len(seat.accuracies) + (seat.state == "running" and seat.trains_on) for seat in seats)
        is_spent = self._budget.rounds is not None and rounds >= self._budget.rounds
        if is_spent or (self._budget.hours is not None and self._seconds() >= 3600 * self._budget.hours):
            for seat in seats:
                if seat.state in ("waiting", "held") and seat.trains_on:
                    self._verdicts.stop(seat, BUDGET)

    def _write_clock(self) -> None:
        if self._budget and self._budget.hours is not None:
            self._decisions.write_seconds(self._seconds())

    def _seconds(self) -> float:
        return self._seconds_before + self._now() - self._since

    def _is_turn_over(self, seat: ExperimentState) -> bool:
        return self._rounds_per_turn is not None and seat.turn >= self._rounds_per_turn

    def _somebody_comes_first(self, seat: ExperimentState) -> bool:
        """By rounds, then by the study's order: so who is next does not depend on when a sweep was interrupted."""
        waiting = [other for other in self._seats.values() if other.state == "waiting"]
        return min(waiting, key=self._rank) is not seat

    def _rank(self, seat: ExperimentState) -> tuple[int, ...]:
        """Who comes first: fewer rounds; with a protocol one dataset and method after the other, final runs at once."""
        experiment, num_rounds = seat.experiment, len(seat.accuracies)
        if experiment.stage is None:
            return (num_rounds,)
        return self._groups[experiment.entry], int(experiment.is_search), num_rounds

    def _welcome(self, name: str) -> None:
        """Give seats to those that follow from what `name` has just done."""
        if arrived := self._follow(self._seats[name].experiment, self._seats):
            self._verdicts.admit(arrived)
