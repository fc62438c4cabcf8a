"""What the driver wrote down of the study that it runs, so that others can tell what is missing and why.

    request.json     the study file as it was last run, and the name of every experiment in it
    failures.json    the reason of each failure of the last run, by experiment

`pipeline` writes both, without credentials; `report` reads them together with the artifacts. Neither decides anything.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.config import Study, StudyError, sections_of, validate
from lion_ray.experiments import Experiment
from lion_ray.store import Store, redacted

REQUEST, FAILURES = "request.json", "failures.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """A study and its experiments, which know everything but their `meaning`: whoever trains expands the study anew."""

    study: Study
    experiments: Sequence[Experiment]


def record(store: Store, study: Study, experiments: Sequence[Experiment]) -> None:
    """Write down what is asked for, if it is not there already."""
    datasets = {id(dataset): index for index, dataset in enumerate(study.datasets)}
    methods = {id(method): index for index, method in enumerate(study.methods)}
    asked = [
        [each.name, each.digest, datasets[id(each.dataset)], methods[id(each.method)], each.seed]
        for each in experiments
    ]
    told = {"study": study.model_dump(mode="json", exclude_unset=True), "experiments": asked}
    payload = redacted(json.dumps(told, sort_keys=True)).encode()
    if store.read(REQUEST) != payload:
        store.write(REQUEST, payload)


def recall(store: Store) -> Request:
    """What was asked for.

    Raises:
        FileNotFoundError: no driver has worked there.
        ValueError: the file is damaged; the next run writes it again.
    """
    payload = store.read(REQUEST)
    if payload is None:
        raise FileNotFoundError(
            f"{store.url} has no {REQUEST}: give a study's URL, <storage>/<study>, after it was run"
        )
    source = f"{store.url}/{REQUEST}"
    try:
        told = json.loads(payload)
        study = validate(Study, told["study"], source=source)
        sections = [sections_of(study, index, source=source) for index in range(len(study.methods))]
        experiments = [_experiment(study, sections, fields) for fields in told["experiments"]]
    except StudyError:
        raise
    except (ValueError, KeyError, TypeError, IndexError) as damage:
        raise ValueError(f"{source} is damaged ({damage!r}): run the study again, it trains nothing twice") from damage
    return Request(study=study, experiments=experiments)


def record_failures(store: Store, failures: Mapping[str, str]) -> None:
    """Replace the reasons; without any the file goes."""
    if failures:
        store.write(FAILURES, redacted(json.dumps(dict(failures), sort_keys=True, indent=1)).encode())
    else:
        store.remove(FAILURES)


def recall_failures(store: Store) -> dict[str, str]:
    """Why experiments failed in the last run, by name."""
    payload = store.read(FAILURES)
    try:
        told = json.loads(payload or b"{}")
        return {str(name): redacted(reason) for name, reason in told.items()}
    except (ValueError, AttributeError) as damage:
        raise ValueError(f"{store.url}/{FAILURES} is damaged ({damage}): run the study again, or delete it") from damage


def _experiment(study: Study, sections: Sequence[Any], fields: Sequence[Any]) -> Experiment:
    name, digest, dataset, method, seed = fields
    train, lottery = sections[method]
    return Experiment(
        name=name,
        digest=digest,
        meaning={},
        dataset=study.datasets[dataset],
        backbone=study.backbone,
        method=study.methods[method],
        seed=seed,
        train=train,
        lottery=lottery,
    )
