"""Who is stopped: each dataset's rule is asked round by round, and what it says is in the store before it acts.

A sweep that is started again replays what was decided, in its order, and then decides on stored rounds on which nobody
had decided. The lottery's own rule is asked anew: its `tolerance` may have changed. `turns` holds one and says who
trains when.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from lion_ray.config import DatasetConfig, SchedulerConfig
from lion_ray.decisions import LOTTERY, Decision, Decisions, Stop
from lion_ray.experiments import Experiment
from lion_ray.planning import Item, Plan
from lion_ray.results import val_accuracies
from lion_ray.schedule.rules import Rule, make_rule

OnStop = Callable[[Experiment, Stop], None]
Stopped = tuple[tuple[str, int], ...]


@dataclasses.dataclass
class Seat:
    """Where one experiment stands; `turn` counts the rounds of its present turn, `last` is where it was stopped."""

    experiment: Experiment
    accuracies: list[float] = dataclasses.field(default_factory=list)
    state: Literal["waiting", "running", "held", "over"] = "waiting"
    turn: int = 0
    last: int | None = None

    @property
    def trains_on(self) -> bool:
        """Whether rounds are left, as far as anybody has decided."""
        return self.last is None and len(self.accuracies) < self.experiment.num_rounds


class Verdicts:
    """The seats of a plan's experiments and what is decided about them.

    Args:
        on_stop: called for every stop of this run, once it is in the store.
    """

    def __init__(
        self, plan: Plan, config: SchedulerConfig, decisions: Decisions, on_stop: OnStop = lambda *_: None
    ) -> None:
        self._config, self._decisions, self._on_stop = config, decisions, on_stop
        self.seats = {item.experiment.name: Seat(experiment=item.experiment) for item in plan.items}
        groups: dict[DatasetConfig, list[Experiment]] = {item.experiment.dataset: [] for item in plan.items}
        for item in plan.items:
            groups[item.experiment.dataset].append(item.experiment)
        self._rules = {dataset: make_rule(config, group) for dataset, group in groups.items()}
        self._made = {dataset: [made for made in decisions.read(dataset) if made.by != LOTTERY] for dataset in groups}
        self._replay()
        self._catch_up(plan.items)
        for item in plan.items:
            self._settle(item)

    def is_held(self, seat: Seat) -> bool:
        """Whether its dataset's rule makes it wait for others."""
        return self._rule_of(seat).is_held(seat.experiment.name)

    def decide(self, seat: Seat, val_accuracy: float) -> None:
        """Ask the dataset's rule about one more round, write down what it says, and act on it."""
        seat.accuracies.append(val_accuracy)
        stopped = self._training(self._rule_of(seat).on_round(seat.experiment.name, tuple(seat.accuracies)))
        if stopped or self._config.compares:
            self._record(seat, stopped, self._config.name, val_accuracy)
        self._stop(stopped, self._config.name)
        if not seat.trains_on:
            self.leave(seat)
        self._release()

    def leave(self, seat: Seat) -> None:
        """It trains no further; its dataset's rule may stop others for that."""
        stopped = self._training(self._rule_of(seat).on_over(seat.experiment.name))
        if stopped:
            self._record(seat, stopped, self._config.name)
            self._stop(stopped, self._config.name)
        self._release()

    def stop(self, seat: Seat, by: str) -> None:
        """End an experiment that still trains, whatever its dataset's rule thinks of it."""
        stopped = self._training([seat.experiment.name])
        self._record(seat, stopped, by)
        self._stop(stopped, by)

    def _training(self, names: Iterable[str]) -> Stopped:
        """Of `names` those that would train on, each with the last round it has."""
        seats = [self.seats[name] for name in names if self.seats[name].trains_on]
        return tuple((seat.experiment.name, len(seat.accuracies) - 1) for seat in seats)

    def _record(self, seat: Seat, stopped: Stopped, by: str, val_accuracy: float | None = None) -> None:
        name, number = seat.experiment.name, len(seat.accuracies) - 1
        made = self._made[seat.experiment.dataset]
        made.append(Decision(experiment=name, round=number, val_accuracy=val_accuracy, stopped=stopped, by=by))
        self._decisions.write(seat.experiment.dataset, made)

    def _stop(self, stopped: Stopped, by: str) -> None:
        for name, last in stopped:
            seat = self.seats[name]
            seat.state, seat.last = "over", last
            self._on_stop(seat.experiment, Stop(round=last, by=by))

    def _release(self) -> None:
        """Whom no rule holds any more waits for a turn."""
        for seat in self.seats.values():
            if seat.state == "held" and not self.is_held(seat):
                seat.state = "waiting"

    def _replay(self) -> None:
        """Bring rules and seats to where the stored decisions leave them; what is written down counts."""
        for decision in (decision for made in self._made.values() for decision in made):
            seat = self.seats.get(decision.experiment)
            if seat and decision.val_accuracy is not None and decision.round == len(seat.accuracies):
                seat.accuracies.append(decision.val_accuracy)
                self._rule_of(seat).on_round(decision.experiment, tuple(seat.accuracies))
                if not seat.trains_on:
                    self._rule_of(seat).on_over(decision.experiment)
            for name, last in decision.stopped:
                if name in self.seats:
                    self.seats[name].last = last
                    self._rule_of(self.seats[name]).on_over(name)

    def _catch_up(self, items: Sequence[Item]) -> None:
        """Decide on stored rounds on which nobody has decided, early rounds first."""
        for number in range(max(len(item.rounds) for item in items)):
            for item in (item for item in items if len(item.rounds) > number):
                seat, accuracy = self.seats[item.experiment.name], val_accuracies(item.rounds)[number]
                if number >= len(seat.accuracies) and seat.last is None:
                    self.decide(seat, accuracy)
                elif number >= len(seat.accuracies):
                    seat.accuracies.append(accuracy)

    def _settle(self, item: Item) -> None:
        """Where an experiment stands before the first turn; one that is done may lack controls or a damaged round."""
        seat = self.seats[item.experiment.name]
        last = seat.experiment.num_rounds - 1 if seat.last is None else seat.last
        if seat.trains_on:
            seat.state = "held" if self.is_held(seat) else "waiting"
        else:
            seat.state = "waiting" if _lacks_something(item, last) else "over"

    def _rule_of(self, seat: Seat) -> Rule:
        return self._rules[seat.experiment.dataset]


def _lacks_something(item: Item, last: int) -> bool:
    return item.lacks_controls or item.lacks_start or len(item.rounds) <= last
