"""A sweep without Ray or training: `TrainingOrder` over made-up accuracies, on a store that survives the driver."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lion_ray.config import BackboneConfig, DatasetConfig, LotteryConfig, MethodConfig, SchedulerConfig, TrainConfig
from lion_ray.experiments import Experiment
from lion_ray.lottery import WINNING
from lion_ray.schedule import TrainingOrder
from lion_ray.store import Store
from lion_ray.study.decisions import Decisions, Stop
from lion_ray.study.plan import Plan, PlannedExperiment, ended
from lion_ray.study.record import RoundRecord
from tests.support.records import metrics

Accuracy = Callable[[str, int], float]


def experiment(name: str, dataset: str = "mnist", **lottery: Any) -> Experiment:
    """`lion` on `dataset`; lottery settings as in a study."""
    return Experiment(
        name=name,
        digest="",
        identity={},
        dataset=DatasetConfig(name=dataset),
        backbone=BackboneConfig(name="resnet18"),
        method=MethodConfig(name="lion"),
        seed=0,
        train=TrainConfig(),
        lottery=LotteryConfig(**lottery),
    )


def round_of(experiment: Experiment, number: int, val_accuracy: float) -> RoundRecord:
    """A finished round of which only its accuracy matters."""
    return RoundRecord(
        experiment=experiment.name,
        dataset="",
        backbone="",
        method="",
        seed=experiment.seed,
        round=number,
        ticket=WINNING,
        config={},
        metrics=metrics(val_accuracy=val_accuracy),
    )


@dataclasses.dataclass
class Sweep:
    """What one study's store would hold (`rounds`) and what happened (`log`: started, trained and stopped)."""

    experiments: list[Experiment]
    scheduler: SchedulerConfig
    accuracy: Accuracy
    folder: Path
    concurrency: int = 1
    workers: int = 1
    rounds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    trained: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    stops: dict[str, Stop] = dataclasses.field(default_factory=dict)
    clock: float = 0.0

    def plan(self) -> Plan:
        """As `planning.make_plan` would see the store."""
        stops = self.decisions().stops(each.peers for each in self.experiments)
        items = []
        for each in self.experiments:
            values = self.rounds.get(each.name, [])[: each.num_rounds]
            trained = [round_of(each, number, value) for number, value in enumerate(values)]
            rounds, stop = ended(each, trained, stops.get(each.name))
            items.append(PlannedExperiment(experiment=each, rounds=rounds, stop=stop))
        return Plan(items=items)

    def decisions(self) -> Decisions:
        return Decisions(Store(str(self.folder)), self.scheduler)

    def run(self, *, draw: random.Random | None = None, kill_after: int | None = None) -> Sweep:
        """Run to the end, or until so many rounds are stored: then the driver dies, undecided about the last one.

        Args:
            draw: which of the running experiments finishes a round first; the oldest if None.
        """
        order = TrainingOrder(
            self.plan(), self.scheduler, self.decisions(), workers=self.workers, on_stop=self._stopped, now=self._now
        )
        running: dict[str, int] = {}
        while not order.is_over:
            while len(running) < self.concurrency and (chosen := order.next()) is not None:
                running[chosen.name] = 0
            assert running, "the sweep is not over, and nobody trains"
            name = draw.choice(sorted(running)) if draw else next(iter(running))
            number = running[name]
            stored = self.rounds.setdefault(name, [])
            if number == len(stored):
                stored.append(self.accuracy(name, number))
                self.trained.append((name, number))
                self.clock += 60.0
                if kill_after is not None and len(self.trained) >= kill_after:
                    return self
            running[name] += 1
            limit = next(each.num_rounds for each in self.experiments if each.name == name)
            if not order.on_round(name, number, stored[number]):
                del running[name]
            elif running[name] == limit:
                del running[name]
                order.on_end(name)
        return self

    def _stopped(self, experiment: Experiment, stop: Stop) -> None:
        self.stops[experiment.name] = stop

    def _now(self) -> float:
        return self.clock
