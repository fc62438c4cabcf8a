"""Synthetic studies for the report: artifacts as a ledger writes them, without a training."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

from lion_ray import config
from lion_ray.config import Study
from lion_ray.experiments import Experiment, identity_digest
from lion_ray.lottery import WINNING, control_of
from lion_ray.store import Store, layout
from lion_ray.study import request

EPOCHS = 3


def study(**sections: Any) -> Study:
    """A study file's values, checked as any."""
    told = {
        "study": "tiny",
        "storage": "nowhere",
        "backbone": {"name": "test_vit"},
        "train": {"epochs": EPOCHS},
        **sections,
    }
    return config.validate(Study, told, source="tests")


def experiments(of: Study) -> list[Experiment]:
    """Its experiments in their order; no dataset or backbone is looked up."""
    found = []
    for seed, index, dataset in itertools.product(of.seeds, range(len(of.methods)), of.datasets):
        method = of.methods[index]
        train, lottery = config.sections_of(of, index)
        identity = {"dataset": dataset.model_dump(mode="json"), "method": method.model_dump(mode="json"), "seed": seed}
        digest = identity_digest(identity)
        each = Experiment(
            name=f"{dataset.name}-{of.backbone.name}-{method.name}-s{seed}-{digest[:8]}",
            digest=digest,
            identity=identity,
            dataset=dataset,
            backbone=of.backbone,
            method=method,
            seed=seed,
            train=train,
            lottery=lottery,
        )
        found.append(each)
    return found


def put(
    store: Store, experiment: Experiment, number: int, test_accuracy: float, *, ticket: str = WINNING, **metrics: Any
) -> None:
    """Commit a round, or a control beside it, and the start before round 0."""
    if number == 0:
        store.commit(experiment.key("start"), {"start.safetensors": b"", "experiment.json": b"{}"})
    files = {
        "ticket.safetensors": b"",
        "result.json": _json(record(experiment, number, test_accuracy, ticket, metrics)),
    }
    clock = {"seconds": 10.0 * (number + 1), "finished": 1.7e9 + number, "host": "node", "pid": 1}
    key = layout.round_of(experiment.name, number, control_of(ticket))
    store.commit(key, files)
    store.write(f"{key}/clock.json", _json(clock))


def record(
    experiment: Experiment, number: int, test_accuracy: float, ticket: str, metrics: Mapping[str, Any]
) -> dict[str, Any]:
    """What `result.json` says of a round; `lion` has equilibria."""
    solves = experiment.method.name == "lion"
    density = 0.5**number
    return {
        "experiment": experiment.name,
        "dataset": experiment.dataset.name,
        "backbone": experiment.backbone.name,
        "method": experiment.method.name,
        "seed": experiment.seed,
        "round": number,
        "ticket": ticket,
        "config": experiment.config(),
        "metrics": {
            "density": density,
            "num_params": 1000 + round(8000 * density) * solves,
            "num_params_without_classifier": round(8000 * density) * solves,
            "num_acting_params": 1000 + round(7000 * density) * solves,
            "num_acting_params_without_classifier": round(7000 * density) * solves,
            "val_accuracy": test_accuracy - 0.01,
            "test_accuracy": test_accuracy,
            "history": [_epoch(index, test_accuracy, solves) for index in range(EPOCHS)],
            "solves": {"num": 60 * solves, "num_nonfinite": 0, "residual_max": 9e-5 * solves, "share_unconverged": 0.0},
            **metrics,
        },
    }


def finish(store: Store, of: Study, accuracies: Mapping[tuple[str, str, int, int], float]) -> list[Experiment]:
    """Write down the request, and the rounds of `accuracies` by (dataset, method, seed, round); `nothing` else."""
    found = experiments(of)
    request.record(store, of, found)
    for each in found:
        for number in range(each.num_rounds):
            value = accuracies.get((each.dataset.name, each.method.name, each.seed, number))
            if value is not None:
                put(store, each, number, value)
    return found


def _epoch(index: int, accuracy: float, solves: bool) -> dict[str, Any]:
    figures = {
        "body.prompt.residual_max": 8e-5 / (index + 1),
        "body.prompt.steps_mean": 4.0 + index,
        "body.prompt.num_samples": 10.0,
    }
    return {
        "epoch": index,
        "loss": 2.0 / (index + 1),
        "train_accuracy": accuracy,
        "val_accuracy": accuracy - 0.01 - 0.1 * (EPOCHS - 1 - index),
        "health": figures if solves else {},
        "evaluation_health": figures if solves else {},
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()
