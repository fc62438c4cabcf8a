"""One training interval of one experiment, in the process of a Tune trial: rounds until `schedule` ends it.

`sweep.run` starts these through Ray Tune.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray import tune

from lion_ray import backbones
from lion_ray.config import ResourcesConfig
from lion_ray.store import Store
from lion_ray.sweep import worker_setup
from lion_ray.sweep.mailbox import unwrap
from lion_ray.sweep.train_workers import run_on_workers
from lion_ray.sweep.trial_body import TrialBody
from lion_ray.training.workers import SingleWorker


def train_interval(
    config: Mapping[str, Any],
    *,
    backbone: backbones.Resolved,
    resources: ResourcesConfig,
    store: Store,
    mailbox: Any,
) -> None:
    """Train the experiment that `config` names, in this process or, with several workers, in a Ray Train run."""
    body = TrialBody(
        inputs=unwrap(ray.get(mailbox.work.remote(config["experiment"]))),
        backbone=backbone,
        store=store,
        mailbox=mailbox,
        resources=resources,
    )
    if resources.is_distributed:
        run_on_workers(body)
        return
    device = worker_setup.prepare(resources, deterministic=body.experiment.train.deterministic)
    body.run(SingleWorker(), device, tune.report)
