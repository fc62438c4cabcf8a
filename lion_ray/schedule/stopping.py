"""Stopping decisions: the rule of each comparison group is asked after every round.

A decision is stored before it takes effect. A sweep that is started again replays the stored decisions in their order
and then decides on the stored rounds without a decision. The lottery's own rule is asked again for every round, because
its `tolerance` may have changed. `lion_ray.schedule.order` holds a `StoppingDecisions` and orders the training.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from lion_ray.config import SchedulerConfig
from lion_ray.experiments import ComparisonGroup, Experiment
from lion_ray.schedule.rules import StoppingRule, make_rule
from lion_ray.study.decisions import DIVERGENCE, LOTTERY, Decision, Decisions, Stop
from lion_ray.study.plan import Plan, PlannedExperiment
from lion_ray.study.rounds import val_accuracies

OnStop = Callable[[Experiment, Stop], None]
Stopped = tuple[tuple[str, int], ...]
"""Names of experiments, each with its last round that counts."""


@dataclasses.dataclass
class ExperimentState:
    """The state of one experiment in a sweep.

    `accuracies` are the validation accuracies of its finished rounds. `interval` counts the rounds of its current
    training interval. If the experiment is stopped, `last` is the last round that counts, and `by` names the scheduler
    or the reason.
    """

    experiment: Experiment
    accuracies: list[float] = dataclasses.field(default_factory=list)
    phase: Literal["waiting", "running", "paused", "over"] = "waiting"
    interval: int = 0
    last: int | None = None
    by: str = ""

    @property
    def trains_on(self) -> bool:
        """Whether rounds are left and no decision has stopped the experiment."""
        return self.last is None and len(self.accuracies) < self.experiment.num_rounds


class StoppingDecisions:
    """The states of a plan's experiments, and the decisions about them.

    Args:
        plan: the experiments and their stored rounds.
        config: the `scheduler` section.
        decisions: the stored decisions of the study under this section.
        on_stop: called for every stop of this run after it is stored.
    """

    def __init__(
        self, plan: Plan, config: SchedulerConfig, decisions: Decisions, on_stop: OnStop = lambda *_: None
    ) -> None:
        self._config, self._decisions, self._on_stop = config, decisions, on_stop
        self.states: dict[str, ExperimentState] = {}
        self._rules: dict[ComparisonGroup, StoppingRule] = {}
        self._decided: dict[ComparisonGroup, list[Decision]] = {}
        self.add(plan.items)

    def add(self, items: Sequence[PlannedExperiment]) -> None:
        """Add experiments with the states that follow from their stored rounds and decisions.

        All experiments of a comparison group have to be added together.
        """
        groups: dict[ComparisonGroup, list[Experiment]] = {item.experiment.peers: [] for item in items}
        for item in items:
            groups[item.experiment.peers].append(item.experiment)
            self.states[item.experiment.name] = ExperimentState(experiment=item.experiment)
        assert not groups.keys() & self._rules.keys()
        self._rules |= {peers: make_rule(self._config, group) for peers, group in groups.items()}
        self._decided |= {
            peers: [decision for decision in self._decisions.read(peers) if decision.by != LOTTERY] for peers in groups
        }
        self._replay(groups)
        self._catch_up(items)
        for item in items:
            self._set_phase(item)

    def is_paused(self, state: ExperimentState) -> bool:
        """Whether the rule of its group makes an experiment wait for others."""
        return self._rule_of(state).is_paused(state.experiment.name)

    def decide(self, state: ExperimentState, val_accuracy: float) -> None:
        """Ask the group's rule about a new round, store its decision, and act on it.

        Args:
            state: the state of the experiment.
            val_accuracy: the validation accuracy of the round, 0 to 1; NaN if there is none.
        """
        state.accuracies.append(val_accuracy)
        stopped = self._training(self._rule_of(state).on_round(state.experiment.name, tuple(state.accuracies)))
        if stopped or (self._config.compares and not math.isnan(val_accuracy)):
            self._record(state, stopped, self._config.name, val_accuracy)
        self._stop(stopped, self._config.name)
        if not state.trains_on:
            self.leave(state)
        self._release()

    def leave(self, state: ExperimentState) -> None:
        """Report to the group's rule that an experiment trains no further; the rule may stop others then."""
        stopped = self._training(self._rule_of(state).on_complete(state.experiment.name))
        if stopped:
            self._record(state, stopped, self._config.name)
            self._stop(stopped, self._config.name)
        self._release()

    def stop(self, state: ExperimentState, by: str) -> None:
        """Stop an experiment that still trains, without its group's rule. `by` names the reason."""
        stopped = self._training([state.experiment.name])
        self._record(state, stopped, by)
        self._stop(stopped, by)

    def _training(self, names: Iterable[str]) -> Stopped:
        """The experiments among `names` that would continue, each with its last finished round."""
        states = [self.states[name] for name in names if self.states[name].trains_on]
        return tuple((state.experiment.name, len(state.accuracies) - 1) for state in states)

    def _record(self, state: ExperimentState, stopped: Stopped, by: str, val_accuracy: float | None = None) -> None:
        name, number = state.experiment.name, len(state.accuracies) - 1
        decided = self._decided[state.experiment.peers]
        decided.append(Decision(experiment=name, round=number, val_accuracy=val_accuracy, stopped=stopped, by=by))
        self._decisions.write(state.experiment.peers, decided)

    def _stop(self, stopped: Stopped, by: str) -> None:
        for name, last in stopped:
            state = self.states[name]
            state.phase, state.last, state.by = "over", last, by
            self._on_stop(state.experiment, Stop(round=last, by=by))

    def _release(self) -> None:
        """Experiments that are no longer paused by their rule wait for a training interval."""
        for state in self.states.values():
            if state.phase == "paused" and not self.is_paused(state):
                state.phase = "waiting"

    def _replay(self, groups: Iterable[ComparisonGroup]) -> None:
        """Bring rules and states to where stored decisions leave them, even if a rule would now decide otherwise."""
        for decision in (decision for peers in groups for decision in self._decided[peers]):
            state = self.states.get(decision.experiment)
            if state and decision.val_accuracy is not None and decision.round == len(state.accuracies):
                state.accuracies.append(decision.val_accuracy)
                self._rule_of(state).on_round(decision.experiment, tuple(state.accuracies))
                if not state.trains_on:
                    self._rule_of(state).on_complete(decision.experiment)
            for name, last in decision.stopped:
                if name in self.states:
                    self.states[name].last, self.states[name].by = last, decision.by
                    self._rule_of(self.states[name]).on_complete(name)

    def _catch_up(self, items: Sequence[PlannedExperiment]) -> None:
        """Decide on the stored rounds that have no decision yet, early rounds first."""
        for number in range(max((len(item.rounds) for item in items), default=0)):
            for item in (item for item in items if len(item.rounds) > number):
                state, accuracy = self.states[item.experiment.name], val_accuracies(item.rounds)[number]
                if number >= len(state.accuracies) and state.last is None:
                    self.decide(state, accuracy)
                elif number >= len(state.accuracies):
                    state.accuracies.append(accuracy)

    def _set_phase(self, item: PlannedExperiment) -> None:
        """Set the first phase of an experiment. A finished one runs again if a control or a round is missing."""
        state = self.states[item.experiment.name]
        if item.stop is not None and item.stop.by == DIVERGENCE and state.trains_on:
            state.last, state.by = item.stop.round, DIVERGENCE
            self._rule_of(state).on_complete(item.experiment.name)
        last = state.experiment.num_rounds - 1 if state.last is None else state.last
        if state.trains_on:
            state.phase = "paused" if self.is_paused(state) else "waiting"
        else:
            state.phase = "waiting" if _lacks_something(item, last) else "over"

    def _rule_of(self, state: ExperimentState) -> StoppingRule:
        return self._rules[state.experiment.peers]


def _lacks_something(item: PlannedExperiment, last: int) -> bool:
    return item.lacks_controls or item.lacks_start or len(item.rounds) <= last
