"""The order of training: early rounds of every experiment come before late rounds of one.

So a sweep that ends early has results for every dataset. A training interval of an experiment ends after
`rounds_per_turn` rounds if another experiment comes first by then, and it ends when `lion_ray.schedule.stopping` or the
study's budget stops the experiment. This module imports no Ray; `lion_ray.sweep.tuner` hands the order to Ray Tune.
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
        plan: the experiments and their stored rounds.
        config: the `scheduler` section.
        decisions: the stored decisions of the study under this section.
        workers: the number of workers of one experiment. It sets the length of a training interval if the section does
            not: 1 round for one worker, all rounds for more.
        on_stop: called for every stop of this run after it is stored.
        follow: gives the experiments that join now that the state of one experiment has changed; see
            `lion_ray.schedule.following`.
        is_halted: whether the sweep has to end at once; then no experiment continues and nothing more is decided.
        now: the clock, in seconds; tests replace it.
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
            self._add_follow_ups(name)

    @property
    def is_over(self) -> bool:
        """Whether no experiment will train any more."""
        if self._is_halted():
            return True
        self._stop_if_spent()
        return all(state.phase == "over" for state in self._states.values())

    def is_over_for(self, name: str) -> bool:
        """Whether one experiment will not train any more."""
        return self._states[name].phase == "over"

    def next(self) -> Experiment | None:
        """The experiment to start: the waiting one with the fewest rounds, in the study's order; None if none waits."""
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
        chosen = min(waiting, key=self._rank)  # `min` takes the first of equal ones, in the order of the study
        chosen.phase, chosen.interval = "running", 0
        return chosen.experiment

    def on_round(self, name: str, number: int, val_accuracy: float) -> bool:
        """Take note of a stored round of a running experiment, and return whether it continues at once.

        Nothing is decided on a round that is known already, or on one before a stop.

        Args:
            name: the experiment.
            number: the number of the round.
            val_accuracy: its validation accuracy, 0 to 1; NaN if there is no val split.
        """
        if self._is_halted():
            return False
        goes_on = self._goes_on(self._states[name], number, val_accuracy)
        self._add_follow_ups(name)
        return goes_on

    def on_end(self, name: str) -> None:
        """Take note that the process of an experiment has ended.

        If its training interval has not ended before, the experiment is over, finished or failed.
        """
        state = self._states[name]
        if state.phase == "running":
            state.phase = "over"
            if not self._is_halted():
                self._stopping.leave(state)
                self._add_follow_ups(name)

    def _goes_on(self, state: ExperimentState, number: int, val_accuracy: float) -> bool:
        if number < len(state.accuracies) or state.last is not None:
            return self._note_known_round(state, number, val_accuracy)
        state.interval += 1
        self._stopping.decide(state, val_accuracy)
        self._write_clock()
        if state.phase != "running" or not state.trains_on:
            return state.phase == "running"  # its process ends by itself if no round is left
        state.phase = "paused" if self._stopping.is_paused(state) else "waiting"
        self._stop_if_spent()
        if state.phase == "waiting" and not (self._is_interval_over(state) and self._another_comes_first(state)):
            state.phase = "running"
        return state.phase == "running"

    def _note_known_round(self, state: ExperimentState, number: int, val_accuracy: float) -> bool:
        if number == len(state.accuracies):
            state.accuracies.append(val_accuracy)
        if state.last is not None and number >= state.last:
            state.phase = "over"
        return state.phase == "running"

    def _stop_if_spent(self) -> None:
        """Stop all experiments that do not train now, if the budget of rounds or hours is spent.

        A round that is being trained counts as spent.
        """
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
        """Whether another waiting experiment comes first.

        This depends on rounds and the study's order only, so an interruption of the sweep does not change the order.
        """
        waiting = [other for other in self._states.values() if other.phase == "waiting"]
        return min(waiting, key=self._rank) is not state

    def _rank(self, state: ExperimentState) -> tuple[int, ...]:
        """The sort key: the number of rounds; with a protocol the search group first, and final runs before trials."""
        experiment, num_rounds = state.experiment, len(state.accuracies)
        if experiment.stage is None:
            return (num_rounds,)
        return self._groups[experiment.entry], int(experiment.is_search), num_rounds

    def _add_follow_ups(self, name: str) -> None:
        """Add the experiments that follow from the state of `name`."""
        if follow_ups := self._follow(self._states[name].experiment, self._states):
            self._stopping.add(follow_ups)
