"""Every training that studies ask for, each with its record or with the reason why there is none.

`opened` reads a study's store; the end of a run has its plan at hand. Tables and plots are made from slots alone, so
nothing that is missing can get lost on the way.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from lion_ray.config import Study
from lion_ray.data.catalogue import CATALOGUE
from lion_ray.experiments import dataset_labels, entry_label
from lion_ray.lottery import WINNING
from lion_ray.store import Store, current_driver, identity, redacted
from lion_ray.study import request
from lion_ray.study.plan import Plan, PlannedExperiment, stopped
from lion_ray.study.record import RoundRecord
from lion_ray.study.search_groups import Stages

FINAL, SEARCH = "final", "search"  # runs that a table reports, and those that only chose settings
OTHER = "other"


class ResultLine(NamedTuple):
    """What one line of a table is about: the trainings of a method entry at one round, its ticket or a control.

    `study` is empty where there is only one.
    """

    study: str
    method: str
    round: int
    ticket: str = WINNING


class Training(NamedTuple):
    """One training: its record, or the reason why it is missing."""

    line: ResultLine
    dataset: str
    seed: int
    experiment: str
    record: RoundRecord | None
    reason: str = ""
    stage: str = FINAL


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study as the report shows it; `driver` names who works on it now."""

    name: str
    url: str
    study: Study
    plan: Plan
    failures: Mapping[str, str]
    driver: str | None = None


def opened(urls: Sequence[str]) -> list[StudyView]:
    """The studies at `urls`, `<storage>/<study>` each.

    Raises:
        FileNotFoundError: no driver has worked there.
        OSError, ValueError, ImportError: a URL cannot be read.
    """
    views, places = [], dict[str, str]()
    for url in urls:
        places.setdefault(identity(url), url)
    for url in places.values():
        store = Store(url)
        asked = request.recall(store)
        plan = Stages(asked.experiments, asked.study).plan(store, keep=False)
        failures, driver = request.recall_failures(store), current_driver(store)
        views.append(view(plan, asked.study, store, failures, driver))
    return _named_apart(views)


def view(plan: Plan, study: Study, store: Store, failures: Mapping[str, str], driver: str | None = None) -> StudyView:
    """A study whose plan is at hand."""
    told = {name: redacted(reason) for name, reason in failures.items()}
    return StudyView(name=study.study, url=redacted(store.url), study=study, plan=plan, failures=told, driver=driver)


def slots(views: Sequence[StudyView]) -> list[Training]:
    """All trainings of all studies, method by method as the studies name them."""
    found: list[Training] = []
    for view in views:
        name = view.name if len(views) > 1 else ""
        order = {entry_label(method): index for index, method in enumerate(view.study.methods)}
        found += sorted(
            _of_study(view, name),
            key=lambda slot: (order[slot.line.method], slot.line.ticket != WINNING, slot.line.ticket, slot.line.round),
        )
    return found


def groups(views: Sequence[StudyView]) -> dict[str, str]:
    """The group of each dataset, in the order of the groups, then of the studies."""
    found: dict[str, str] = {}
    for view in views:
        for dataset, label in dataset_labels(view.study.datasets).items():
            entry = CATALOGUE.get(dataset.name)
            found[label] = (entry.group if entry else "") or OTHER
    order = list(dict.fromkeys(entry.group for entry in CATALOGUE.values() if entry.group))
    return dict(sorted(found.items(), key=lambda each: order.index(each[1]) if each[1] in order else len(order)))


def vtab_tasks(views: Sequence[StudyView]) -> set[str]:
    """Names of the VTAB-1k tasks among the datasets."""
    names = {dataset.name for view in views for dataset in view.study.datasets}
    return {name for name in names if name in CATALOGUE and CATALOGUE[name].suite == "vtab1k"}


def reasons(missing: Iterable[Training]) -> Counter[str]:
    """How many trainings are missing for each reason."""
    return Counter(slot.reason for slot in missing if slot.record is None)


def _of_study(view: StudyView, name: str) -> Iterator[Training]:
    methods = dict[int, str]()  # one label per section, not per experiment
    datasets = dataset_labels(view.study.datasets)
    items = [*view.plan.items, *(PlannedExperiment(experiment=each, rounds=()) for each in view.plan.awaiting_choice)]
    for item in items:
        method, dataset = item.experiment.method, item.experiment.dataset
        if id(method) not in methods:
            methods[id(method)] = entry_label(method)
        yield from _of_experiment(view, item, ResultLine(name, methods[id(method)], 0), datasets[dataset])


def _of_experiment(view: StudyView, item: PlannedExperiment, first: ResultLine, dataset: str) -> Iterator[Training]:
    experiment = item.experiment
    records = {(record.round, record.ticket): record for record in (*item.rounds, *item.controls)}
    for number in range(experiment.num_rounds):
        for ticket in (WINNING, *(experiment.controls if number else ())):
            record = records.get((number, ticket))
            reason = "" if record else _reason(view, item, number)
            line = first._replace(round=number, ticket=ticket)
            stage = SEARCH if experiment.is_search else FINAL
            yield Training(line, dataset, experiment.seed, experiment.name, record, reason, stage)


def _reason(view: StudyView, item: PlannedExperiment, number: int) -> str:
    if item.stop is not None and number > item.stop.round:
        return stopped(item.stop)
    if item.experiment.name in view.failures:
        return f"failed: {view.failures[item.experiment.name]}"
    if item.experiment in view.plan.awaiting_choice:
        return "its setting is not chosen yet"
    return "running or waiting" if view.driver else "not run yet"


def _named_apart(views: Sequence[StudyView]) -> list[StudyView]:
    """Two studies of one name get a number each."""
    times = Counter(view.name for view in views)
    seen: Counter[str] = Counter()
    named = []
    for view in views:
        seen[view.name] += 1
        name = f"{view.name} ({seen[view.name]})" if times[view.name] > 1 else view.name
        named.append(dataclasses.replace(view, name=name))
    return named
