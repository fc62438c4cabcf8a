"""What is kept of an experiment, and where: the start that every round rewinds to, and every finished round.

    experiments/<name>/start/                start.safetensors, experiment.json
    experiments/<name>/round-<k>/            ticket.safetensors, result.json
    experiments/<name>/round-<k>-<control>/  the same, of a branch beside round k that nothing follows

each with a `DONE`, the same bits in every repetition. `clock.json` (times, host, process) lies beside a round's files
and in no `DONE`: whoever writes it, it damages nothing.
Where later rounds start from this one, or are pruned by what it measured, `point.safetensors` or `scores.safetensors`
lies beside them. `trial` makes one per experiment; `results` and `ticket` read the files.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lion_ray import backbones, ticket
from lion_ray.experiments import Experiment, method_label
from lion_ray.lottery import WINNING, Mask, Round, TrainState, control_of
from lion_ray.store import BackgroundWriter, DamagedArtifactWarning, Store, layout
from lion_ray.study.record import read_record
from lion_ray.training.workers import Value, Workers
from lion_ray.trial.checkpoints import StoreCheckpointer


class StoredRounds:
    """Keeps rounds of one experiment in the study's store (`lottery.Ledger`); only worker 0 touches the store."""

    def __init__(
        self,
        experiment: Experiment,
        store: Store,
        *,
        backbone: backbones.Backbone,
        workers: Workers,
        classes: tuple[str, ...],
    ) -> None:
        self._experiment, self._store, self._workers, self._classes = experiment, store, workers, classes
        self._backbone = backbone
        self._since = time.time()
        self._behind = BackgroundWriter()

    def start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The committed start, or `make()`'s, committed from now on: every round rewinds to the same bits."""
        return self._workers.on_rank_zero(lambda: self._start(make))

    def load(self, number: int, ticket: str = WINNING) -> Round | None:
        """The committed round, or None if it is absent or damaged."""
        return self._workers.on_rank_zero(lambda: self._load(number, ticket))

    def commit(self, finished: Round) -> None:
        """Write ticket, result and clock, then `DONE`, while training goes on."""
        self._workers.on_rank_zero(lambda: self._commit(finished))

    def checkpointer(self, number: int, ticket: str, mask: Mask) -> StoreCheckpointer:
        """The checkpointer of a round that is being trained."""
        return StoreCheckpointer(self._store, self._key(number, ticket), mask, self._workers)

    def flush(self) -> None:
        """Return when all of it is in the store."""
        self._workers.on_rank_zero(self._behind.flush)

    def once(self, make: Callable[[], Value]) -> Value:
        """`make()` of worker 0, on every worker."""
        return self._workers.on_rank_zero(make)

    def _start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        key = self._experiment.key("start")
        found = self._store.load(key)
        if found is not None:
            kept = self._undamaged(key, lambda: load_safetensors(found[layout.START]))
            if kept is not None:
                return kept
        start = make()
        record = {
            "name": self._experiment.name,
            "meaning": self._experiment.identity,
            "config": self._experiment.config(),
        }
        payload = save_safetensors(dict(start))
        files = {layout.START: payload, layout.EXPERIMENT: _json(record)}
        self._behind.submit(lambda: self._store.commit(key, files))
        return start

    def _load(self, number: int, name: str) -> Round | None:
        self._since = time.time()
        key = self._key(number, name)
        found = self._store.load(key)
        return None if found is None else self._undamaged(key, lambda: _round(number, name, found))

    def _undamaged(self, key: str, read: Callable[[], Value]) -> Value | None:
        """What `read` makes of files whose digests hold; None, with a warning, if they are not what they should be."""
        try:
            return read()
        except (SafetensorError, ValueError, KeyError, TypeError) as damage:
            told = f"{self._store.url}/{key} counts as absent: {damage}"
            warnings.warn(told, DamagedArtifactWarning, stacklevel=2)
            return None

    def _commit(self, finished: Round) -> None:
        seconds = time.time() - self._since
        clock = {"seconds": seconds, "finished": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        files = {
            layout.TICKET: self._ticket(finished),
            layout.RESULT: _json(result_record(self._experiment, finished)),
        }
        if finished.state:
            files[layout.STATE] = _packed_state(finished.state)
        if finished.scores:
            files[layout.SCORES] = save_safetensors(dict(finished.scores))
        key = self._key(finished.number, finished.ticket)
        self._behind.submit(lambda: self._keep(key, files, _json(clock)))

    def _keep(self, key: str, files: Mapping[str, bytes], clock: bytes) -> None:
        """`DONE` last, then the checkpoint of the unfinished round goes."""
        self._store.write(f"{key}/{layout.CLOCK}", clock)
        self._store.commit(key, files)
        self._store.remove(f"{key}/{layout.CHECKPOINT}")

    def _key(self, number: int, name: str) -> str:
        return layout.round_of(self._experiment.name, number, control_of(name))

    def _ticket(self, finished: Round) -> bytes:
        """The shipped file, with the logits of the model that opening it gives."""
        made = ticket.Ticket(header=self._header(finished), weights=finished.weights, mask=finished.mask)
        logits = ticket.measure(ticket.model_of(ticket.unpack(ticket.pack(made)), backbone=self._backbone))
        return ticket.pack(dataclasses.replace(made, fingerprint=logits))

    def _header(self, finished: Round) -> ticket.Header:
        experiment, backbone = self._experiment, self._backbone
        return ticket.Header(
            experiment=experiment.name,
            round=finished.number,
            classes=self._classes,
            backbone=experiment.config()["backbone"],
            weights_digest=backbone.weights_digest,
            transform=dataclasses.asdict(backbone.transform),
            method=experiment.config()["method"],
            metrics={
                "ticket": finished.ticket,
                **finished.metrics.as_json(with_history=False),
            },
            numeric={
                **ticket.numeric_settings(),
                "workers": self._workers.size,
                "precision": experiment.train.precision,
            },
            config=dict(experiment.config()),
        )


def _round(number: int, name: str, files: Mapping[str, bytes]) -> Round:
    """A round from its files."""
    kept = ticket.unpack(files[layout.TICKET])
    return Round(
        number=number,
        weights=kept.weights,
        mask=kept.mask,
        metrics=read_record(files[layout.RESULT]).metrics,
        ticket=name,
        state=_unpacked_state(files[layout.STATE]) if layout.STATE in files else None,
        scores=load_safetensors(files.get(layout.SCORES, save_safetensors({}))),
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
        "ticket": finished.ticket,
        "metrics": finished.metrics.as_json(),
        "config": experiment.config(),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()


def _packed_state(state: TrainState) -> bytes:
    tensors = {f"weights/{name}": tensor for name, tensor in state.weights.items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in state.optimizer.items()}
    return save_safetensors(tensors, metadata={"epoch": str(state.epoch)})


def _unpacked_state(payload: bytes) -> TrainState:
    parts: dict[str, dict[str, Tensor]] = {"weights": {}, "optimizer": {}}
    for key, tensor in load_safetensors(payload).items():
        kind, _, name = key.partition("/")
        parts[kind][name] = tensor
    epoch = int(ticket.metadata_of(payload)["epoch"])
    return TrainState(weights=parts["weights"], optimizer=parts["optimizer"], epoch=epoch)
