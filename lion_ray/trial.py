"""One experiment from start to end: the model, the ledger in the store, and the lottery's rounds between them.

Called in a Tune trial's process for one worker, in every worker of a Train run for more (`distributed`). Lays down

    experiments/<name>/start/    start.safetensors, experiment.json   the weights at initialisation
    experiments/<name>/round-<k>/ticket.safetensors, result.json, clock.json

each with a `DONE`. Everything but `clock.json` (times, host, process) is the same bits in every repetition.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lion_ray import backbones, methods, protocol, ticket, training
from lion_ray.config import ResourcesConfig
from lion_ray.data import Dataset
from lion_ray.experiments import Experiment, method_label
from lion_ray.lottery import Mask, Round, run_rounds
from lion_ray.store import Store
from lion_ray.team import Team

OnEpoch = Callable[[Experiment, int, float, dict[str, Any]], None]


def run_experiment(
    experiment: Experiment,
    dataset: Dataset,
    store: Store,
    *,
    team: Team,
    device: torch.device,
    on_epoch: OnEpoch,
) -> Iterator[Round]:
    """Yield the experiment's rounds, trained now or found in the store.

    Args:
        on_epoch: called on the leading worker with (experiment, round number, density, the epoch's record).
    """
    trainer = RoundTrainer(experiment, dataset, team=team, device=device, on_epoch=on_epoch)
    ledger = StoreLedger(experiment, store, team=team, classes=dataset.classes)
    yield from run_rounds(experiment.lottery, trainer, ledger)


def prepare_process(resources: ResourcesConfig, *, deterministic: bool) -> torch.device:
    """Give torch the granted cores, and the device that was granted."""
    torch.set_num_threads(resources.cpus)
    _keep_freed_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS refuses to be deterministic
    torch.use_deterministic_algorithms(deterministic)
    return torch.device("cuda" if resources.gpus and torch.cuda.is_available() else "cpu")


def _keep_freed_memory() -> None:
    """Let glibc keep activations' memory from step to step: fresh pages for every step cost 1.3 x (measured)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        m_trim_threshold, m_mmap_max = -1, -4
        mallopt(m_trim_threshold, -1)
        mallopt(m_mmap_max, 0)


class RoundTrainer:
    """Trains rounds of one experiment (`lottery.Trainer`)."""

    def __init__(
        self, experiment: Experiment, dataset: Dataset, *, team: Team, device: torch.device, on_epoch: OnEpoch
    ) -> None:
        self._experiment, self._team, self._on_epoch = experiment, team, on_epoch
        backbone = backbones.load(experiment.backbone)
        seed = experiment.seed_for("start")
        self.model = methods.build(experiment.method, backbone, num_classes=len(dataset.classes), seed=seed).to(device)
        splits = protocol.training_splits(dataset)
        train, val, test = splits.train, splits.val, protocol.final_split(dataset)
        self._train, self._val, self._test = (
            training.prepare(self.model, split, backbone.transform, device) for split in (train, val, test)
        )
        self._step_module = team.wrap(self.model.trained_part)
        self._start = {name: weight.detach().cpu().clone() for name, weight in self.model.trained().items()}

    def start(self) -> Mapping[str, Tensor]:
        """The weights at initialisation."""
        return self._start

    def prunable(self) -> tuple[str, ...]:
        """The method's prunable weights."""
        return self.model.prunable()

    def train(self, number: int, weights: Mapping[str, Tensor], mask: Mask) -> Round:
        """Train, then read the test split once. The round's metrics hold no clock time."""
        self.model.load_trained(weights)
        history = training.fit(
            self.model,
            self._step_module,
            (self._train, self._val),
            self._experiment.train,
            mask=mask,
            seed_for=self._experiment.seed_for,
            team=self._team,
            on_epoch=lambda record: self._epoch_done(number, mask, record),
        )
        test_accuracy = training.evaluate(self.model.trained_part, self._test, self._experiment.train, self._team)
        trained = {name: weight.detach().cpu().clone() for name, weight in self.model.trained().items()}
        metrics = {
            "density": mask.density,
            **_num_params(trained, mask),
            "val_accuracy": history[-1]["val_accuracy"],
            "test_accuracy": test_accuracy,
            "history": history,
        }
        return Round(number=number, weights=trained, mask=mask, metrics=metrics)

    def _epoch_done(self, number: int, mask: Mask, record: dict[str, Any]) -> None:
        if self._team.leads:
            self._on_epoch(self._experiment, number, mask.density, record)


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


def _num_params(trained: Mapping[str, Tensor], mask: Mask) -> dict[str, int]:
    """Trained parameters that survive, with and without the classifier; pruned ones do not count."""
    pruned = mask.num_weights - mask.num_alive
    total = sum(weight.numel() for weight in trained.values()) - pruned
    classifier = sum(weight.numel() for name, weight in trained.items() if name.startswith("head.classifier."))
    return {"num_params": total, "num_params_without_classifier": total - classifier}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode()
