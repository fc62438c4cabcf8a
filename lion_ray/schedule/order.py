"""Who trains next and for how long: early rounds of every experiment before late rounds of one.

So a sweep that ends half-way has an answer for every dataset. A training interval ends after `rounds_per_turn` rounds
if somebody else comes first by then, or when `stopping` or the study's budget say so. No Ray: `sweep.tuner` hands this
to Ray Tune.
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
    """Which experiment of a plan trains next, and for how many rounds.

    Args:
        workers: of one experiment; they decide how long a training interval is if the scheduler section does not.
        on_stop: called for every stop of this run, once it is in the store.
        follow: what comes into being now that one experiment stands where its state says; see `following.Following`.
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
        self._rounds_per_interval = config.rounds_per_turn or (1 if workers == 1 else None)
        self._seconds_before, self._since = decisions.seconds, now()
        self._stopping = StoppingDecisions(plan, config, decisions, on_stop)
        self._states = self._stopping.states
        self._follow = follow
        staged = [state.experiment.entry for state in self._states.values() if state.experiment.stage]
        self._groups = {entry: place for place, entry in enumerate(dict.fromkeys(staged))}
        for name in list(self._states):
            self._welcome(name)

    @property
    def is_over(self) -> bool:
        """Whether nobody will train any more."""
        if self._is_halted():
            return True
        self._stop_if_spent()
        return all(state.phase == "over" for state in self._states.values())

    def is_over_for(self, name: str) -> bool:
        """Whether one experiment will train no more."""
        return self._states[name].phase == "over"

    def next(self) -> Experiment | None:
        """The experiment to start: of those that wait the one with the fewest rounds, in the study's order."""
        if self._is_halted():
            return None
        self._stop_if_spent()
        states = self._states.values()
        if not any(state.phase in ("waiting", "running") for state in states):
            for state in (state for state in states if state.phase == "paused"):
                state.phase = "waiting"  # no scheduler may bring a sweep to a standstill
        waiting = [state for state in states if state.phase == "waiting"]
        if not waiting:
            return None
        chosen = min(waiting, key=self._rank)  # of equals the first in the study
        chosen.phase, chosen.interval = "running", 0
        return chosen.experiment

    def on_round(self, name: str, number: int, val_accuracy: float) -> bool:
        """Round `number` of a running experiment is in the store: whether it trains on at once.

        Rounds that are known already, and those up to a stop, just pass.
        """
        if self._is_halted():
            return False
        goes_on = self._goes_on(self._states[name], number, val_accuracy)
        self._welcome(name)
        return goes_on

    def on_end(self, name: str) -> None:
        """The experiment's process has ended.

        If nothing had ended its training interval it is over, in good or bad order.
        """
        state = self._states[name]
        if state.phase == "running":
            state.phase = "over"
            if not self._is_halted():
                self._stopping.leave(state)
                self._welcome(name)

    def _goes_on(self, state: ExperimentState, number: int, val_accuracy: float) -> bool:
        if number < len(state.accuracies) or state.last is not None:
            return self._pass(state, number, val_accuracy)
        state.interval += 1
        self._stopping.decide(state, val_accuracy)
        self._write_clock()
        if state.phase != "running" or not state.trains_on:
            return state.phase == "running"  # with nothing left to train its process ends by itself
        state.phase = "paused" if self._stopping.is_paused(state) else "waiting"
        self._stop_if_spent()
        if state.phase == "waiting" and not (self._is_interval_over(state) and self._another_comes_first(state)):
            state.phase = "running"
        return state.phase == "running"

    def _pass(self, state: ExperimentState, number: int, val_accuracy: float) -> bool:
        if number == len(state.accuracies):
            state.accuracies.append(val_accuracy)
        if state.last is not None and number >= state.last:
            state.phase = "over"
        return state.phase == "running"

    def _stop_if_spent(self) -> None:
        """Once rounds that are done or being trained use up the budget, or time has, all who are not training stop."""
        if self._budget is None:
            return
        states = list(self._states.values())
        rounds = sum(len(state.accuracies) + (state.phase == "running" and state.trains_on) for state in states)
        is_spent = self._budget.rounds is not None and rounds >= self._budget.rounds
        if is_spent or (self._budget.hours is not None and self._seconds() >= 3600 * self._budget.hours):
            for state in states:
                if state.phase in ("waiting", "paused") and state.trains_on:
                    self._stopping.stop(state, BUDGET)

    def _write_clock(self) -> None:
        if self._budget and self._budget.hours is not None:
            self._decisions.write_seconds(self._seconds())

    def _seconds(self) -> float:
        return self._seconds_before + self._now() - self._since

    def _is_interval_over(self, state: ExperimentState) -> bool:
        return self._rounds_per_interval is not None and state.interval >= self._rounds_per_interval

    def _another_comes_first(self, state: ExperimentState) -> bool:
        """By rounds, then by the study's order: so who is next does not depend on when a sweep was interrupted."""
        waiting = [other for other in self._states.values() if other.phase == "waiting"]
        return min(waiting, key=self._rank) is not state

    def _rank(self, state: ExperimentState) -> tuple[int, ...]:
        """Who comes first: fewer rounds; with a protocol one dataset and method after the other, final runs at once."""
        experiment, num_rounds = state.experiment, len(state.accuracies)
        if experiment.stage is None:
            return (num_rounds,)
        return self._groups[experiment.entry], int(experiment.is_search), num_rounds

    def _welcome(self, name: str) -> None:
        """Give states to those that follow from what `name` has just done."""
        if arrived := self._follow(self._states[name].experiment, self._states):
            self._stopping.admit(arrived)
