"""The stored files of an experiment: the initial weights that rounds rewind to, and every finished round.

    experiments/<name>/start/                start.safetensors, experiment.json
    experiments/<name>/round-<k>/            ticket.safetensors, result.json
    experiments/<name>/round-<k>-<control>/  the same, of a control beside round k

Each folder has a `DONE`, and each repetition writes the same bits. `clock.json` (times, host, process) lies beside a
round's files but is not listed in `DONE`, because it differs between repetitions. If later rounds start from a round,
`point.safetensors` holds its state; if its criterion measures scores, `scores.safetensors` holds them.
`lion_ray.trial.trainer` makes one `StoredRounds` per experiment; `lion_ray.study` and `lion_ray.ticket` read the files.
"""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import time
import warnings
from collections.abc import Callable, Mapping

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
    """Stores the rounds of one experiment (`lottery.RoundStore`). Only rank 0 reads and writes the store.

    Args:
        experiment: the experiment.
        store: the store of the study.
        backbone: the backbone of the experiment, for the tickets.
        workers: the workers of the experiment.
        classes: the names of the classes, for the tickets.
    """

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
        self._writer = BackgroundWriter()

    def start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        """The stored initial weights. Without them `make` is called, and its weights are stored."""
        return self._workers.on_rank_zero(lambda: self._start(make))

    def load(self, number: int, ticket: str = WINNING) -> Round | None:
        """The stored round; None if it is absent or, with a warning, if it is damaged."""
        return self._workers.on_rank_zero(lambda: self._load(number, ticket))

    def commit(self, finished: Round) -> None:
        """Write the round's files and then `DONE` in a background thread, while training continues."""
        self._workers.on_rank_zero(lambda: self._commit(finished))

    def checkpointer(self, number: int, ticket: str, mask: Mask) -> StoreCheckpointer:
        """The checkpointer of a round that is being trained."""
        return StoreCheckpointer(self._store, self._key(number, ticket), mask, self._workers)

    def flush(self) -> None:
        """Wait until everything is in the store."""
        self._workers.on_rank_zero(self._writer.flush)

    def once(self, make: Callable[[], Value]) -> Value:
        """The value of `make()` on rank 0, on every worker."""
        return self._workers.on_rank_zero(make)

    def _start(self, make: Callable[[], Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
        key = self._experiment.key("start")
        stored = self._store.load(key)
        if stored is not None:
            weights = self._undamaged(key, lambda: load_safetensors(stored[layout.START]))
            if weights is not None:
                return weights
        start = make()
        record = {
            "name": self._experiment.name,
            "meaning": self._experiment.identity,
            "config": self._experiment.config(),
        }
        payload = save_safetensors(dict(start))
        files = {layout.START: payload, layout.EXPERIMENT: _json(record)}
        self._writer.submit(lambda: self._store.commit(key, files))
        return start

    def _load(self, number: int, name: str) -> Round | None:
        self._since = time.time()
        key = self._key(number, name)
        files = self._store.load(key)
        return None if files is None else self._undamaged(key, lambda: _round(number, name, files))

    def _undamaged(self, key: str, read: Callable[[], Value]) -> Value | None:
        """The value of `read`; None, with a warning, if the files have valid digests but cannot be read."""
        try:
            return read()
        except (SafetensorError, ValueError, KeyError, TypeError) as damage:
            message = f"{self._store.url}/{key} counts as absent: {damage}"
            warnings.warn(message, DamagedArtifactWarning, stacklevel=2)
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
        self._writer.submit(lambda: self._write(key, files, _json(clock)))

    def _write(self, key: str, files: Mapping[str, bytes], clock: bytes) -> None:
        """Write the files, `DONE` last of them, and then remove the checkpoint."""
        self._store.write(f"{key}/{layout.CLOCK}", clock)
        self._store.commit(key, files)
        self._store.remove(f"{key}/{layout.CHECKPOINT}")

    def _key(self, number: int, name: str) -> str:
        return layout.round_of(self._experiment.name, number, control_of(name))

    def _ticket(self, finished: Round) -> bytes:
        """The ticket file. Its fingerprint is the logits of the model that is restored from the file itself."""
        unmeasured = ticket.Ticket(header=self._header(finished), weights=finished.weights, mask=finished.mask)
        logits = ticket.measure(ticket.model_of(ticket.unpack(ticket.pack(unmeasured)), backbone=self._backbone))
        return ticket.pack(dataclasses.replace(unmeasured, fingerprint=logits))

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
    """The round whose files were read."""
    stored = ticket.unpack(files[layout.TICKET])
    return Round(
        number=number,
        weights=stored.weights,
        mask=stored.mask,
        metrics=read_record(files[layout.RESULT]).metrics,
        ticket=name,
        state=_unpacked_state(files[layout.STATE]) if layout.STATE in files else None,
        scores=load_safetensors(files.get(layout.SCORES, save_safetensors({}))),
    )


def result_record(experiment: Experiment, finished: Round) -> dict[str, object]:
    """The contents of `result.json`, which `lion_ray.study` and `lion_ray.report` read."""
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


def _json(value: object) -> bytes:
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
