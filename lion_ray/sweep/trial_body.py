"""One experiment in a process that trains it: the same body in a Tune trial and in every worker of a Train run.

`trainable` makes it; with several workers `train_workers` runs it in each of them. Worker 0 alone sends events.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import ray
import torch

from lion_ray import backbones
from lion_ray.config import ResourcesConfig, StudyError
from lion_ray.experiments import Experiment
from lion_ray.lottery import EpochRecord, Round
from lion_ray.store import StorageError, Store
from lion_ray.study.choices import record_divergence
from lion_ray.sweep.events import (
    EpochDone,
    Event,
    ExperimentFailed,
    ExperimentStopped,
    StorageOutage,
    SweepFailed,
    Warned,
)
from lion_ray.sweep.trial_inputs import TrialInputs
from lion_ray.training.feature_cache import FeatureCache
from lion_ray.training.loop import TrainingDiverged
from lion_ray.training.solver_health import share_unconverged
from lion_ray.training.workers import Workers
from lion_ray.trial.trainer import EpochContext, OnEpoch, run_experiment

ENDS_THE_SWEEP = (StorageError, StudyError)  # no repetition mends these
Report = Callable[[dict[str, Any]], object]
FEATURES = FeatureCache()
"""The features of frozen bodies that this training process has computed; its experiments share them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialBody:
    """What a training process needs beside its device and its fellow workers.

    `inputs` are the experiment and its data in Ray's object store, `backbone` is staged in `store`, `mailbox` is the
    actor of `sweep.mailbox`.
    """

    inputs: TrialInputs
    backbone: backbones.Resolved
    store: Store
    mailbox: Any
    resources: ResourcesConfig

    @property
    def experiment(self) -> Experiment:
        """The experiment that is trained."""
        return self.inputs.experiment

    def run(self, workers: Workers, device: torch.device, report: Report) -> None:
        """Train all rounds that the store lacks, or as many as `report` lets it.

        A round that diverges is the end of the experiment, not of the sweep. All workers diverge together.

        Args:
            report: `tune.report` or `ray.train.report`; called on every worker with what schedulers may see of a round.
        """
        store = self.store.reporting_outages_to(lambda outage: self._send(StorageOutage(line=str(outage))))
        try:
            loaded = workers.on_every_rank(lambda: backbones.load_staged(self.backbone, store))
            rounds = run_experiment(
                self.experiment,
                self.inputs.open(),
                store,
                backbone=loaded,
                workers=workers,
                device=device,
                on_epoch=self._epoch_sender(),
                features=FEATURES,
            )
            for finished in rounds:
                if finished.cut_off and workers.is_rank_zero:
                    self._send(Warned(line=f"{self.experiment.label} round {finished.number}: {finished.cut_off}"))
                report(visible_to_schedulers(finished))
        except TrainingDiverged as error:
            if workers.is_rank_zero:
                self._say_that_it_diverged(store, str(error))
        except ENDS_THE_SWEEP as error:
            if workers.is_rank_zero:
                self._send_and_wait(SweepFailed(error=error))

    def _epoch_sender(self) -> OnEpoch:
        """Sends each epoch with the seconds since the one before; called on worker 0."""
        last = time.monotonic()

        def send(training: EpochContext, record: EpochRecord) -> None:
            nonlocal last
            before, last = last, time.monotonic()
            self._send(
                EpochDone(
                    experiment=training.experiment.name,
                    round=training.round,
                    ticket=training.ticket,
                    epoch=record.epoch,
                    loss=record.loss,
                    val_accuracy=record.val_accuracy,
                    density=training.density,
                    seconds=last - before,
                    share_unconverged=max(map(share_unconverged, (record.health, record.evaluation_health))),
                )
            )

        return send

    def _say_that_it_diverged(self, store: Store, reason: str) -> None:
        """A search trial that diverges is a result of the search; any other experiment has failed."""
        if self.experiment.is_search:
            record_divergence(store, self.experiment, reason)
            self._send_and_wait(ExperimentStopped(experiment=self.experiment.name, how=f"cannot be chosen: {reason}"))
        else:
            self._send_and_wait(ExperimentFailed(experiment=self.experiment.name, reason=reason))

    def _send(self, event: Event) -> None:
        self.mailbox.put.remote(event)

    def _send_and_wait(self, event: Event) -> None:
        """This process may end at once afterwards."""
        ray.get(self.mailbox.put.remote(event))


def visible_to_schedulers(finished: Round) -> dict[str, Any]:
    """What Ray Tune and its schedulers may see of a round: never a test figure."""
    return {"round": finished.number, "val_accuracy": finished.val_accuracy, "density": finished.metrics.density}
