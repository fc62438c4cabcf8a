"""A driver without Ray and without training: stages, turns and a real store, on made-up accuracies."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

from lion_ray import config
from lion_ray.config import Study
from lion_ray.experiments import Experiment, expand
from lion_ray.lottery import WINNING
from lion_ray.schedule import TrainingOrder
from lion_ray.schedule.following import FollowUpRuns
from lion_ray.store import Store, layout
from lion_ray.study.choices import record_divergence
from lion_ray.study.decisions import Decisions
from lion_ray.study.search_groups import Stages
from tests.support.made_studies import record

DATASETS = "datasets=[{name: mnist, num_train: 20}, {name: animal_mnist, num_train: 20}]"
SEARCH = "protocol={name: vtab1k, search: {train.lr: [0.1, 0.01, 0.001, 0.0001]}}"
METHODS = "methods=[linear, {name: lion, input: false}]"
Accuracy = Callable[[Experiment, int], float]


def study(file: Path, *overrides: str) -> Study:
    return config.load(file, [DATASETS, METHODS, "seeds=[42, 44]", SEARCH, *overrides])


def scattered(experiment: Experiment, number: int) -> float:
    return random.Random(f"{experiment.name}/{number}").random()


class Driver:
    """A driver over a store that survives it; `trained` counts every round that was trained, over all its lives."""

    def __init__(self, of: Study, store: Store, accuracy: Accuracy = scattered, *, concurrency: int = 2) -> None:
        self.study, self.store, self.accuracy, self.concurrency = of, store, accuracy, concurrency
        self.stages = Stages(expand(of), of)
        self.trained: list[tuple[str, int]] = []
        self.diverges: Callable[[Experiment], bool] = lambda _: False
        self.fails: Callable[[Experiment], bool] = lambda _: False

    def run(self, *, draw: random.Random | None = None, kill_after: int | None = None) -> None:
        """To the end, or until so many rounds are trained: the driver dies and knows nothing of the last one."""
        plan = self.stages.plan(self.store)
        order = TrainingOrder(
            plan,
            self.study.scheduler,
            Decisions(self.store, self.study.scheduler),
            follow=FollowUpRuns(self.stages, plan, self.store, lambda *_: None),
        )
        running: dict[str, tuple[Experiment, int]] = {}
        while not order.is_over:
            while len(running) < self.concurrency and (started := order.next()) is not None:
                running[started.name] = started, 0
            name = draw.choice(sorted(running)) if draw else next(iter(running))
            each, number = running[name]
            if self.fails(each) or self.diverges(each):
                if self.diverges(each):
                    record_divergence(self.store, each, "nan")
                del running[name]
                order.on_end(name)
                continue
            if self.store.read(f"{layout.round_of(each.name, number)}/DONE") is None:
                self._train(each, number)
                if kill_after is not None and len(self.trained) >= kill_after:
                    return
            running[name] = each, number + 1
            if not order.on_round(name, number, float("nan") if not each.is_search else self.accuracy(each, number)):
                del running[name]
            elif number + 1 == each.num_rounds:
                del running[name]
                order.on_end(name)

    def _train(self, each: Experiment, number: int) -> None:
        accuracy = self.accuracy(each, number)
        hidden = "test_accuracy" if each.is_search else "val_accuracy"
        told = record(each, number, accuracy, WINNING, {"val_accuracy": accuracy, hidden: None})
        if number == 0:
            self.store.commit(each.key("start"), {"experiment.json": b"{}"})
        self.store.commit(layout.round_of(each.name, number), {"result.json": json.dumps(told).encode()})
        self.trained.append((each.name, number))

    @property
    def choices(self) -> dict[str, bytes | None]:
        return {path: self.store.read(path) for path in self.store.listing("choices")}
