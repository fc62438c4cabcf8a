"""What is kept of an experiment, and where: the start that every round rewinds to, and every finished round.

    experiments/<name>/start/      start.safetensors, experiment.json
    experiments/<name>/round-<k>/  ticket.safetensors, result.json, clock.json

each with a `DONE`. Everything but `clock.json` (times, host, process) is the same bits in every repetition.
`trial` makes one per experiment; `results` and `ticket` read the files.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lion_ray import backbones, ticket
from lion_ray.experiments import Experiment, method_label
from lion_ray.lottery import Round
from lion_ray.store import Store
from lion_ray.team import Team


class StoreLedger:
    """Keeps rounds of one experiment in the study's store (`lottery.Ledger`); only worker 0 touches the store."""

    def __init__(self, experiment: Experiment, store: Store, *, team: Team, classes: tuple[str, ...]) -> None:
        self._experiment, self._store, self._team, self._classes = experiment, store, team, classes
        self._since = time.time()

    def start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The committed start, or `make()`'s, committed now: every round rewinds to the same bits."""
        return self._team.lead(lambda: self._start(make))

    def load(self, number: int) -> Round | None:
        """The committed round, or None if it is absent or damaged."""
        return self._team.lead(lambda: self._load(number))

    def commit(self, finished: Round) -> None:
        """Write ticket, result and clock, then `DONE`."""
        self._team.lead(lambda: self._commit(finished))

    def _start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        key = self._experiment.key("start")
        found = self._store.load(key)
        if found is not None:
            return load_safetensors(found["start.safetensors"])
        start = make()
        record = {
            "name": self._experiment.name,
            "meaning": self._experiment.meaning,
            "config": self._experiment.config(),
        }
        payload = save_safetensors(dict(start))
        self._store.commit(key, {"start.safetensors": payload, "experiment.json": _json(record)})
        return start

    def _load(self, number: int) -> Round | None:
        self._since = time.time()
        found = self._store.load(self._experiment.key(f"round-{number}"))
        if found is None:
            return None
        weights, mask, _ = ticket.unpack(found["ticket.safetensors"])
        return Round(number=number, weights=weights, mask=mask, metrics=json.loads(found["result.json"])["metrics"])

    def _commit(self, finished: Round) -> None:
        seconds = time.time() - self._since
        clock = {"seconds": seconds, "finished": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        files = {
            "ticket.safetensors": ticket.pack(finished.weights, finished.mask, self._header(finished)),
            "result.json": _json(result_record(self._experiment, finished)),
            "clock.json": _json(clock),
        }
        self._store.commit(self._experiment.key(f"round-{finished.number}"), files)

    def _header(self, finished: Round) -> ticket.Header:
        experiment = self._experiment
        backbone = backbones.load(experiment.backbone)
        return ticket.Header(
            experiment=experiment.name,
            round=finished.number,
            classes=self._classes,
            backbone=experiment.backbone.model_dump(mode="json"),
            weights_digest=backbone.weights_digest,
            transform=dataclasses.asdict(backbone.transform),
            method=experiment.config()["method"],
            metrics={key: value for key, value in finished.metrics.items() if key != "history"},
            numeric={"torch": torch.__version__, "threads": torch.get_num_threads(), "workers": self._team.size},
        )


def result_record(experiment: Experiment, finished: Round) -> dict[str, Any]:
    """What the report reads of one round."""
    return {
        "experiment": experiment.name,
        "dataset": experiment.dataset.name,
        "backbone": experiment.backbone.name,
        "method": method_label(experiment.method),
        "seed": experiment.seed,
        "round": finished.number,
        "metrics": dict(finished.metrics),
        "config": experiment.config(),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()
