"""One training interval of one experiment, in the process of a Tune trial: rounds until `schedule` ends it.

Started by `sweep`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

from lion_ray import backbones
from lion_ray.config import ResourcesConfig
from lion_ray.experiments import Experiment
from lion_ray.lottery import Round
from lion_ray.store import Outage, Store
from lion_ray.study.choices import record_divergence
from lion_ray.sweep import worker_setup
from lion_ray.sweep.mailbox import unwrap
from lion_ray.sweep.progress import Laps, epoch_event
from lion_ray.sweep.train_workers import FATAL, Fatal, run_distributed
from lion_ray.sweep.trial_inputs import TrialInputs
from lion_ray.training.loop import TrainingDiverged
from lion_ray.training.workers import SingleWorker
from lion_ray.trial.trainer import run_experiment


def train_interval(
    config: Mapping[str, Any],
    *,
    backbone: backbones.Resolved,
    resources: ResourcesConfig,
    store: Store,
    mailbox: Any,
) -> None:
    """One experiment, in a trial process. A round that diverges is the experiment's end, not the sweep's."""
    work: TrialInputs = unwrap(ray.get(mailbox.work.remote(config["experiment"])))
    experiment = work.experiment
    laps = Laps()
    store = store.reporting_outages_to(lambda outage: _tell(mailbox, outage))

    def on_epoch(experiment: Experiment, number: int, density: float, record: Mapping[str, Any]) -> None:
        mailbox.put.remote(epoch_event(experiment, number, density, record, seconds=laps.lap()))

    def on_round(finished: Round) -> dict[str, Any]:
        if finished.cut_off:
            mailbox.put.remote({"warning": f"{experiment.label} round {finished.number}: {finished.cut_off}"})
        return tune_metrics(finished)

    def on_diverged(error: TrainingDiverged) -> None:
        if experiment.is_search:  # what the search wanted to know
            record_divergence(store, experiment, str(error))
            ray.get(mailbox.put.remote({"stopped": experiment.name, "how": f"cannot be chosen: {error}"}))
            return
        ray.get(mailbox.put.remote({"failed": experiment.name, "reason": str(error)}))

    def on_fatal(error: Fatal) -> None:
        ray.get(mailbox.put.remote({"fatal": error}))

    if resources.is_distributed:
        run_distributed(
            work,
            store,
            backbone=backbone,
            resources=resources,
            on_epoch=on_epoch,
            on_round=on_round,
            on_diverged=on_diverged,
            on_fatal=on_fatal,
        )
        return
    device = worker_setup.prepare(resources, deterministic=experiment.train.deterministic)
    try:
        loaded = backbones.load_staged(backbone, store)
        for finished in run_experiment(
            experiment, work.open(), store, backbone=loaded, workers=SingleWorker(), device=device, on_epoch=on_epoch
        ):
            tune.report(on_round(finished))
    except TrainingDiverged as error:
        on_diverged(error)
    except FATAL as error:  # no repetition would help, and the sweep ends
        on_fatal(error)


def _tell(mailbox: Any, outage: Outage) -> None:
    mailbox.put.remote({"outage": str(outage)})


def tune_metrics(finished: Round) -> dict[str, Any]:
    """What schedulers may see of a round: never a test figure."""
    return {"round": finished.number, "val_accuracy": finished.val_accuracy, "density": finished.metrics["density"]}
