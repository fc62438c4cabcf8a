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
    """Where one experiment stands; `turn` counts the rounds of its present turn, `last` is where `by` stopped it."""

    experiment: Experiment
    accuracies: list[float] = dataclasses.field(default_factory=list)
    state: Literal["waiting", "running", "held", "over"] = "waiting"
    turn: int = 0
    last: int | None = None
    by: str = ""

    @property
    def trains_on(self) -> bool:
        """Whether rounds are left, as far as anybody has decided."""
        return self.last is None and len(self.accuracies) < self.experiment.num_rounds


class StoppingDecisions:
    """The seats of a plan's experiments and what is decided about them.

    Args:
        on_stop: called for every stop of this run, once it is in the store.
    """

    def __init__(
        self, plan: Plan, config: SchedulerConfig, decisions: Decisions, on_stop: OnStop = lambda *_: None
    ) -> None:
        self._config, self._decisions, self._on_stop = config, decisions, on_stop
        self.seats: dict[str, ExperimentState] = {}
        self._rules: dict[ComparisonGroup, StoppingRule] = {}
        self._made: dict[ComparisonGroup, list[Decision]] = {}
        self.admit(plan.items)

    def admit(self, items: Sequence[PlannedExperiment]) -> None:
        """Give a seat to each, peers all at once, where their rounds and what was decided leave them."""
        groups: dict[ComparisonGroup, list[Experiment]] = {item.experiment.peers: [] for item in items}
        for item in items:
            groups[item.experiment.peers].append(item.experiment)
            self.seats[item.experiment.name] = ExperimentState(experiment=item.experiment)
        assert not groups.keys() & self._rules.keys()
        self._rules |= {peers: make_rule(self._config, group) for peers, group in groups.items()}
        self._made |= {p: [made for made in self._decisions.read(p) if made.by != LOTTERY] for p in groups}
        self._replay(groups)
        self._catch_up(items)
        for item in items:
            self._settle(item)

    def is_held(self, seat: ExperimentState) -> bool:
        """Whether its dataset's rule makes it wait for others."""
        return self._rule_of(seat).is_held(seat.experiment.name)

    def decide(self, seat: ExperimentState, val_accuracy: float) -> None:
        """Ask the dataset's rule about one more round, write down what it says, and act on it."""
        seat.accuracies.append(val_accuracy)
        stopped = self._training(self._rule_of(seat).on_round(seat.experiment.name, tuple(seat.accuracies)))
        if stopped or (self._config.compares and not math.isnan(val_accuracy)):
            self._record(seat, stopped, self._config.name, val_accuracy)
        self._stop(stopped, self._config.name)
        if not seat.trains_on:
            self.leave(seat)
        self._release()

    def leave(self, seat: ExperimentState) -> None:
        """It trains no further; its dataset's rule may stop others for that."""
        stopped = self._training(self._rule_of(seat).on_over(seat.experiment.name))
        if stopped:
            self._record(seat, stopped, self._config.name)
            self._stop(stopped, self._config.name)
        self._release()

    def stop(self, seat: ExperimentState, by: str) -> None:
        """End an experiment that still trains, whatever its dataset's rule thinks of it."""
        stopped = self._training([seat.experiment.name])
        self._record(seat, stopped, by)
        self._stop(stopped, by)

    def _training(self, names: Iterable[str]) -> Stopped:
        """Of `names` those that would train on, each with the last round it has."""
        seats = [self.seats[name] for name in names if self.seats[name].trains_on]
        return tuple((seat.experiment.name, len(seat.accuracies) - 1) for seat in seats)

    def _record(self, seat: ExperimentState, stopped: Stopped, by: str, val_accuracy: float | None = None) -> None:
        name, number = seat.experiment.name, len(seat.accuracies) - 1
        made = self._made[seat.experiment.peers]
        made.append(Decision(experiment=name, round=number, val_accuracy=val_accuracy, stopped=stopped, by=by))
        self._decisions.write(seat.experiment.peers, made)

    def _stop(self, stopped: Stopped, by: str) -> None:
        for name, last in stopped:
            seat = self.seats[name]
            seat.state, seat.last, seat.by = "over", last, by
            self._on_stop(seat.experiment, Stop(round=last, by=by))

    def _release(self) -> None:
        """Whom no rule holds any more waits for a turn."""
        for seat in self.seats.values():
            if seat.state == "held" and not self.is_held(seat):
                seat.state = "waiting"

    def _replay(self, groups: Iterable[ComparisonGroup]) -> None:
        """Bring rules and seats to where the stored decisions leave them; what is written down counts."""
        for decision in (decision for peers in groups for decision in self._made[peers]):
            seat = self.seats.get(decision.experiment)
            if seat and decision.val_accuracy is not None and decision.round == len(seat.accuracies):
                seat.accuracies.append(decision.val_accuracy)
                self._rule_of(seat).on_round(decision.experiment, tuple(seat.accuracies))
                if not seat.trains_on:
                    self._rule_of(seat).on_over(decision.experiment)
            for name, last in decision.stopped:
                if name in self.seats:
                    self.seats[name].last, self.seats[name].by = last, decision.by
                    self._rule_of(self.seats[name]).on_over(name)

    def _catch_up(self, items: Sequence[PlannedExperiment]) -> None:
        """Decide on stored rounds on which nobody has decided, early rounds first."""
        for number in range(max((len(item.rounds) for item in items), default=0)):
            for item in (item for item in items if len(item.rounds) > number):
                seat, accuracy = self.seats[item.experiment.name], val_accuracies(item.rounds)[number]
                if number >= len(seat.accuracies) and seat.last is None:
                    self.decide(seat, accuracy)
                elif number >= len(seat.accuracies):
                    seat.accuracies.append(accuracy)

    def _settle(self, item: PlannedExperiment) -> None:
        """Where an experiment stands before the first turn; one that is done may lack controls or a damaged round."""
        seat = self.seats[item.experiment.name]
        if item.stop is not None and item.stop.by == DIVERGENCE and seat.trains_on:
            seat.last, seat.by = item.stop.round, DIVERGENCE
            self._rule_of(seat).on_over(item.experiment.name)
        last = seat.experiment.num_rounds - 1 if seat.last is None else seat.last
        if seat.trains_on:
            seat.state = "held" if self.is_held(seat) else "waiting"
        else:
            seat.state = "waiting" if _lacks_something(item, last) else "over"

    def _rule_of(self, seat: ExperimentState) -> StoppingRule:
        return self._rules[seat.experiment.peers]


def _lacks_something(item: PlannedExperiment, last: int) -> bool:
    return item.lacks_controls or item.lacks_start or len(item.rounds) <= last
