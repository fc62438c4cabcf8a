"""One experiment from start to end: the model that trains rounds, the ledger that keeps them, the lottery between them.

Called in a Tune trial's process for one worker, in every worker of a Train run for more (`distributed`).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from lion_ray import backbones, methods, protocol, training
from lion_ray.config import ResourcesConfig
from lion_ray.data import Dataset
from lion_ray.experiments import Experiment
from lion_ray.ledger import StoreLedger
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
    if resources.gpus and not torch.cuda.is_available():
        raise RuntimeError(f"resources.gpus is {resources.gpus:g}, but torch sees no GPU in this process")
    return torch.device("cuda" if resources.gpus else "cpu")


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
        if not all(bool(weight.isfinite().all()) for weight in trained.values()):
            raise training.TrainingDiverged(f"round {number} ends with weights that are not finite; lower train.lr")
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


def _num_params(trained: Mapping[str, Tensor], mask: Mask) -> dict[str, int]:
    """Trained parameters that survive, with and without the classifier; pruned ones do not count."""
    pruned = mask.num_weights - mask.num_alive
    total = sum(weight.numel() for weight in trained.values()) - pruned
    classifier = sum(weight.numel() for name, weight in trained.items() if name.startswith("head.classifier."))
    return {"num_params": total, "num_params_without_classifier": total - classifier}
