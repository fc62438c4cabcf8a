"""Who is stopped: each dataset's rule, or each search's, is asked round by round; what it says is stored, then acts.

A sweep that is started again replays what was decided, in its order, and then decides on stored rounds on which nobody
had decided. The lottery's own rule is asked anew: its `tolerance` may have changed. `turns` holds one and says who
trains when.
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


@dataclasses.dataclass
class ExperimentState:
    """Where one experiment stands.

    `interval` counts the rounds of its present training interval, `last` is the round at which `by` stopped it.
    """

    experiment: Experiment
    accuracies: list[float] = dataclasses.field(default_factory=list)
    phase: Literal["waiting", "running", "paused", "over"] = "waiting"
    interval: int = 0
    last: int | None = None
    by: str = ""

    @property
    def trains_on(self) -> bool:
        """Whether rounds are left, as far as anybody has decided."""
        return self.last is None and len(self.accuracies) < self.experiment.num_rounds


class StoppingDecisions:
    """The states of a plan's experiments and what is decided about them.

    Args:
        on_stop: called for every stop of this run, once it is in the store.
    """

    def __init__(
        self, plan: Plan, config: SchedulerConfig, decisions: Decisions, on_stop: OnStop = lambda *_: None
    ) -> None:
        self._config, self._decisions, self._on_stop = config, decisions, on_stop
        self.states: dict[str, ExperimentState] = {}
        self._rules: dict[ComparisonGroup, StoppingRule] = {}
        self._made: dict[ComparisonGroup, list[Decision]] = {}
        self.admit(plan.items)

    def admit(self, items: Sequence[PlannedExperiment]) -> None:
        """Give a state to each, peers all at once, where their rounds and what was decided leave them."""
        groups: dict[ComparisonGroup, list[Experiment]] = {item.experiment.peers: [] for item in items}
        for item in items:
            groups[item.experiment.peers].append(item.experiment)
            self.states[item.experiment.name] = ExperimentState(experiment=item.experiment)
        assert not groups.keys() & self._rules.keys()
        self._rules |= {peers: make_rule(self._config, group) for peers, group in groups.items()}
        self._made |= {p: [made for made in self._decisions.read(p) if made.by != LOTTERY] for p in groups}
        self._replay(groups)
        self._catch_up(items)
        for item in items:
            self._settle(item)

    def is_paused(self, state: ExperimentState) -> bool:
        """Whether its dataset's rule makes it wait for others."""
        return self._rule_of(state).is_paused(state.experiment.name)

    def decide(self, state: ExperimentState, val_accuracy: float) -> None:
        """Ask the dataset's rule about one more round, write down what it says, and act on it."""
        state.accuracies.append(val_accuracy)
        stopped = self._training(self._rule_of(state).on_round(state.experiment.name, tuple(state.accuracies)))
        if stopped or (self._config.compares and not math.isnan(val_accuracy)):
            self._record(state, stopped, self._config.name, val_accuracy)
        self._stop(stopped, self._config.name)
        if not state.trains_on:
            self.leave(state)
        self._release()

    def leave(self, state: ExperimentState) -> None:
        """It trains no further; its dataset's rule may stop others for that."""
        stopped = self._training(self._rule_of(state).on_over(state.experiment.name))
        if stopped:
            self._record(state, stopped, self._config.name)
            self._stop(stopped, self._config.name)
        self._release()

    def stop(self, state: ExperimentState, by: str) -> None:
        """End an experiment that still trains, whatever its dataset's rule thinks of it."""
        stopped = self._training([state.experiment.name])
        self._record(state, stopped, by)
        self._stop(stopped, by)

    def _training(self, names: Iterable[str]) -> Stopped:
        """Of `names` those that would train on, each with the last round it has."""
        states = [self.states[name] for name in names if self.states[name].trains_on]
        return tuple((state.experiment.name, len(state.accuracies) - 1) for state in states)

    def _record(self, state: ExperimentState, stopped: Stopped, by: str, val_accuracy: float | None = None) -> None:
        name, number = state.experiment.name, len(state.accuracies) - 1
        made = self._made[state.experiment.peers]
        made.append(Decision(experiment=name, round=number, val_accuracy=val_accuracy, stopped=stopped, by=by))
        self._decisions.write(state.experiment.peers, made)

    def _stop(self, stopped: Stopped, by: str) -> None:
        for name, last in stopped:
            state = self.states[name]
            state.phase, state.last, state.by = "over", last, by
            self._on_stop(state.experiment, Stop(round=last, by=by))

    def _release(self) -> None:
        """Whom no rule holds any more waits for a turn."""
        for state in self.states.values():
            if state.phase == "paused" and not self.is_paused(state):
                state.phase = "waiting"

    def _replay(self, groups: Iterable[ComparisonGroup]) -> None:
        """Bring rules and states to where the stored decisions leave them; what is written down counts."""
        for decision in (decision for peers in groups for decision in self._made[peers]):
            state = self.states.get(decision.experiment)
            if state and decision.val_accuracy is not None and decision.round == len(state.accuracies):
                state.accuracies.append(decision.val_accuracy)
                self._rule_of(state).on_round(decision.experiment, tuple(state.accuracies))
                if not state.trains_on:
                    self._rule_of(state).on_over(decision.experiment)
            for name, last in decision.stopped:
                if name in self.states:
                    self.states[name].last, self.states[name].by = last, decision.by
                    self._rule_of(self.states[name]).on_over(name)

    def _catch_up(self, items: Sequence[PlannedExperiment]) -> None:
        """Decide on stored rounds on which nobody has decided, early rounds first."""
        for number in range(max((len(item.rounds) for item in items), default=0)):
            for item in (item for item in items if len(item.rounds) > number):
                state, accuracy = self.states[item.experiment.name], val_accuracies(item.rounds)[number]
                if number >= len(state.accuracies) and state.last is None:
                    self.decide(state, accuracy)
                elif number >= len(state.accuracies):
                    state.accuracies.append(accuracy)

    def _settle(self, item: PlannedExperiment) -> None:
        """Where an experiment stands before the first turn; one that is done may lack controls or a damaged round."""
        state = self.states[item.experiment.name]
        if item.stop is not None and item.stop.by == DIVERGENCE and state.trains_on:
            state.last, state.by = item.stop.round, DIVERGENCE
            self._rule_of(state).on_over(item.experiment.name)
        last = state.experiment.num_rounds - 1 if state.last is None else state.last
        if state.trains_on:
            state.phase = "paused" if self.is_paused(state) else "waiting"
        else:
            state.phase = "waiting" if _lacks_something(item, last) else "over"

    def _rule_of(self, state: ExperimentState) -> StoppingRule:
        return self._rules[state.experiment.peers]


def _lacks_something(item: PlannedExperiment, last: int) -> bool:
    return item.lacks_controls or item.lacks_start or len(item.rounds) <= last
