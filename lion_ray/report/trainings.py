"""Every training that studies ask for, each with its record or with the reason why it is missing.

`opened` reads studies from their stores for `lion-ray report`; `lion_ray.report.tables` builds a view from the plan of
the run that ends. All tables and plots of the page are made from these trainings, so a missing one is never left out.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
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

FINAL, SEARCH = "final", "search"  # runs that tables report, and runs that only chose settings
OTHER = "other"


class ResultLine(NamedTuple):
    """The subject of one table line: a study, a method entry, a round, and `winning` or the name of a control.

    `study` is empty in a report on one study.
    """

    study: str
    method: str
    round: int
    ticket: str = WINNING


class Training(NamedTuple):
    """One training of a report: its record, or None and the reason why it is missing.

    `dataset` is the label of the dataset entry, `experiment` the experiment's name, and `stage` is `final` or `search`.
    """

    line: ResultLine
    dataset: str
    seed: int
    experiment: str
    record: RoundRecord | None
    reason: str = ""
    stage: str = FINAL


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyView:
    """A study as the report shows it.

    `failures` holds the reason of each failure by the experiment's name. `driver` names the process that runs the study
    now; None if none does.
    """

    name: str
    url: str
    study: Study
    plan: Plan
    failures: Mapping[str, str]
    driver: str | None = None


def opened(urls: Sequence[str]) -> list[StudyView]:
    """The studies at `urls`, each `<storage>/<study>`. A study that is named twice is shown once.

    Raises:
        FileNotFoundError: no driver has run a study at one of the URLs.
        OSError, ValueError: a URL cannot be read, or a file there is damaged.
        ImportError: a package that a URL's protocol needs is not installed.
    """
    views, places = [], dict[str, str]()
    for url in urls:
        places.setdefault(identity(url), url)
    for url in places.values():
        store = Store(url)
        stored = request.recall(store)
        plan = Stages(stored.experiments, stored.study).plan(store, keep=False)
        failures, driver = request.recall_failures(store), current_driver(store)
        views.append(view(plan, stored.study, store, failures, driver))
    return _with_distinct_names(views)


def view(plan: Plan, study: Study, store: Store, failures: Mapping[str, str], driver: str | None = None) -> StudyView:
    """The view of a study, without credentials.

    Args:
        plan: the study compared with its store.
        study: the study file.
        store: the study's store.
        failures: the reason of each failure by the experiment's name.
        driver: the process that runs the study now; None if none does.
    """
    reasons = {name: redacted(reason) for name, reason in failures.items()}
    return StudyView(name=study.study, url=_shown_place(store), study=study, plan=plan, failures=reasons, driver=driver)


def _shown_place(store: Store) -> str:
    """Where the study lies, for a page that others read: below the current folder it is told from there."""
    if not store.is_local:
        return redacted(store.url)
    path = Path(store.path("").rstrip("/"))
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def all_trainings(views: Sequence[StudyView]) -> list[Training]:
    """All trainings of all studies. Those of a study are sorted by method entry in its order, ticket and round."""
    listed: list[Training] = []
    for view in views:
        name = view.name if len(views) > 1 else ""
        order = {entry_label(method): index for index, method in enumerate(view.study.methods)}
        listed += sorted(
            _of_study(view, name),
            key=lambda training: _place(training.line, order),
        )
    return listed


def _place(line: ResultLine, order: Mapping[str, int]) -> tuple[int, bool, str, int]:
    return order[line.method], line.ticket != WINNING, line.ticket, line.round


def groups(views: Sequence[StudyView]) -> dict[str, str]:
    """The catalogue's group of each dataset by its label, in the order of the groups and then of the studies."""
    by_dataset: dict[str, str] = {}
    for view in views:
        for dataset, label in dataset_labels(view.study.datasets).items():
            entry = CATALOGUE.get(dataset.name)
            by_dataset[label] = (entry.group if entry else "") or OTHER
    order = list(dict.fromkeys(entry.group for entry in CATALOGUE.values() if entry.group))
    return dict(sorted(by_dataset.items(), key=lambda each: order.index(each[1]) if each[1] in order else len(order)))


def vtab_tasks(views: Sequence[StudyView]) -> set[str]:
    """The names of the VTAB-1k tasks among the datasets of the studies."""
    names = {dataset.name for view in views for dataset in view.study.datasets}
    return {name for name in names if name in CATALOGUE and CATALOGUE[name].suite == "vtab1k"}


def reasons(missing: Iterable[Training]) -> Counter[str]:
    """How many trainings are missing, by reason."""
    return Counter(training.reason for training in missing if training.record is None)


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


def _with_distinct_names(views: Sequence[StudyView]) -> list[StudyView]:
    """The views with a number behind each name that several studies have."""
    times = Counter(view.name for view in views)
    seen: Counter[str] = Counter()
    named = []
    for view in views:
        seen[view.name] += 1
        name = f"{view.name} ({seen[view.name]})" if times[view.name] > 1 else view.name
        named.append(dataclasses.replace(view, name=name))
    return named
