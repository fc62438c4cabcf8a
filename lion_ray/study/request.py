"""The study that a driver runs, as it stores it, so that a report can say which results are missing and why.

    request.json     the study file as it was last run, every experiment's name, and the edition that named them
    failures.json    the reason of each failure of the last run, by experiment

`lion_ray.sweep.driver` and `lion_ray.sweep.run` write both, without credentials; `lion_ray.report.trainings` reads them
together with the artifacts. A run does not depend on either.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from lion_ray.config import (
    DatasetConfig,
    LotteryConfig,
    MethodConfig,
    Study,
    StudyError,
    TrainConfig,
    sections_of,
    validate,
)
from lion_ray.experiments import FIRST_EDITION, Experiment, applied, dataset_labels, edition, entry_label, stage_of
from lion_ray.store import Store, redacted
from lion_ray.store.layout import FAILURES, REQUEST

_Sections = tuple[MethodConfig, TrainConfig, LotteryConfig]


class OtherEditionError(ValueError):
    """A study was last run by a version of lion_ray that made other experiments of the same study file."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A study and the experiments that its file names.

    The experiments are complete but for their `identity`, which is empty. A driver that trains expands the study anew.
    """

    study: Study
    experiments: Sequence[Experiment]


def record(store: Store, study: Study, experiments: Sequence[Experiment]) -> None:
    """Store the study and its experiments, if the store does not hold the same already.

    Args:
        store: the study's store.
        study: the study file.
        experiments: the experiments that `experiments.expand` made of it.
    """
    datasets = {id(dataset): index for index, dataset in enumerate(study.datasets)}
    methods = {id(method): index for index, method in enumerate(study.methods)}
    entries = {entry_label(method): index for index, method in enumerate(study.methods)} if study.protocol else {}
    rows = [
        [
            each.name,
            each.digest,
            datasets[id(each.dataset)],
            entries[each.entry[1]] if each.is_search else methods[id(each.method)],
            each.seed,
            dict(each.setting),
            each.content,
        ]
        for each in experiments
    ]
    fields = {"edition": edition(), "study": study.model_dump(mode="json", exclude_unset=True), "experiments": rows}
    payload = redacted(json.dumps(fields, sort_keys=True)).encode()
    if store.read(REQUEST) != payload:
        store.write(REQUEST, payload)


def recall(store: Store) -> Request:
    """The study and the experiments of the last run.

    Raises:
        FileNotFoundError: no driver has run a study there.
        ValueError: the file is damaged; the next run writes it again.
        OtherEditionError: a version of lion_ray wrote it that made other experiments of the same study file.
    """
    payload = store.read(REQUEST)
    if payload is None:
        raise FileNotFoundError(
            f"{store.url} has no {REQUEST}: give a study's URL, <storage>/<study>, after it was run"
        )
    source = f"{store.url}/{REQUEST}"
    try:
        stored = json.loads(payload)
        if stored.get("edition", FIRST_EDITION) != edition():
            raise OtherEditionError(
                f"{store.url} was last run by another version of lion_ray, to which the study meant other experiments: "
                "run the study again; what has not changed is found in the store, and not trained again"
            )
        study = validate(Study, stored["study"], source=source)
        entry_of = lru_cache(maxsize=None)(partial(_entry, study, source))
        labels = dataset_labels(study.datasets)
        experiments = [_experiment(study, labels, entry_of, fields) for fields in stored["experiments"]]
    except (StudyError, OtherEditionError):
        raise
    except (ValueError, KeyError, TypeError, IndexError) as damage:
        raise ValueError(f"{source} is damaged ({damage!r}): run the study again, it trains nothing twice") from damage
    return Request(study=study, experiments=experiments)


def record_failures(store: Store, failures: Mapping[str, str]) -> None:
    """Replace the stored reasons of failures, by experiment; without failures the file is removed."""
    if failures:
        store.write(FAILURES, redacted(json.dumps(dict(failures), sort_keys=True, indent=1)).encode())
    else:
        store.remove(FAILURES)


def recall_failures(store: Store) -> dict[str, str]:
    """The reason of each failure of the last run, by the experiment's name.

    Raises:
        ValueError: the file is damaged.
    """
    payload = store.read(FAILURES)
    try:
        failures = json.loads(payload or b"{}")
        return {str(name): redacted(reason) for name, reason in failures.items()}
    except (ValueError, AttributeError) as damage:
        raise ValueError(f"{store.url}/{FAILURES} is damaged ({damage}): run the study again, or delete it") from damage


def _entry(study: Study, source: str, index: int, setting: str) -> _Sections:
    """Method entry `index` with its sections, under the JSON text of a search trial's setting."""
    if setting != "{}":
        return applied(study, index, json.loads(setting), source=source)
    return study.methods[index], *sections_of(study, index, source=source)


def _experiment(
    study: Study, labels: Mapping[DatasetConfig, str], entry_of: Callable[[int, str], _Sections], fields: Sequence[Any]
) -> Experiment:
    name, digest, dataset, method, seed, setting, content = fields
    entry, train, lottery = entry_of(method, json.dumps(setting))
    return Experiment(
        name=name,
        digest=digest,
        identity={},
        dataset=study.datasets[dataset],
        backbone=study.backbone,
        method=entry,
        seed=seed,
        train=train,
        lottery=lottery,
        stage=stage_of(study),
        setting=setting,
        label_in_study=labels[study.datasets[dataset]],
        content=content,
    )
