"""A plan on Ray: one Tune trial per training interval of an experiment, as many at once as fit the cluster.

`pipeline` calls `run_sweep`; `schedule` says which experiment trains next and which goes on. Each dataset is decoded
once into the object store, where all trials of a node share it without a copy. Tune's own state is thrown away: a
killed sweep is started again from the store.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.tune.execution import class_cache

from lion_ray import backbones, console
from lion_ray.config import DatasetConfig, Study, StudyError
from lion_ray.experiments import Experiment
from lion_ray.schedule import TrainingOrder
from lion_ray.schedule.following import FollowUpRuns
from lion_ray.store import BackgroundWriter, Lease, StorageError, Store
from lion_ray.store.local import scratch_folder
from lion_ray.study import request
from lion_ray.study.decisions import Decisions
from lion_ray.study.index import renew
from lion_ray.study.plan import Plan, stopped
from lion_ray.study.search_groups import Stages
from lion_ray.sweep import cluster
from lion_ray.sweep.events import ExperimentStopped, FinalRunsAdmitted
from lion_ray.sweep.mailbox import end, start_mailbox, wrap
from lion_ray.sweep.memory_store import visible_to_workers
from lion_ray.sweep.monitor import watch
from lion_ray.sweep.placement_groups import released_when_abandoned
from lion_ray.sweep.progress import Progress
from lion_ray.sweep.shared_dataset import decode
from lion_ray.sweep.trainable import train_interval
from lion_ray.sweep.trial_inputs import SharedDataset, work_on
from lion_ray.sweep.tuner import IntervalScheduler, IntervalSearcher, OnStorage
from lion_ray.trial.checkpoints import remove_leftovers

# Tune hands these of the driver's to its trials, and Ray then writes them to its logs; nodes have their own.
CREDENTIALS = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"}
TUNE_RETRIES, TUNES_OWN = 3, "Caught unexpected exception"  # such as a worker that Ray killed for want of memory
TRIAL_RETRIES = 2  # a trial whose process died starts again at its first unfinished round


def run_sweep(
    plan: Plan,
    stages: Stages,
    study: Study,
    store: Store,
    backbone: backbones.Resolved,
    *,
    lease: Lease,
    source: str = "study",
) -> dict[str, str]:
    """Run what is pending, on a backbone that is staged in `store`; returns the reason of each failure, by experiment.

    Raises:
        StudyError: one experiment alone asks for more than the cluster has, a node does not see the storage, or an
            image cannot be decoded; no trial has started. Or one that is streamed: what is done is done.
        StorageError: the storage refuses, or another driver has taken the study; what is done is done.
    """
    fit = cluster.connect(study.resources, source=source)
    if fit.awaited:
        print(f"waiting: {fit.awaited}", flush=True)
    _make_sure_that_nodes_see(store, backbone, source)
    mailbox = start_mailbox()
    progress = Progress(
        experiments=[*plan.pending, *plan.awaiting_choice],
        done={
            i.experiment.name: [(record.round, record.ticket) for record in (*i.rounds, *i.controls)]
            for i in plan.items
        },
        concurrency=fit.concurrency,
        budget=study.scheduler.budget,
        seconds_before=Decisions(store, study.scheduler).seconds,
    )
    lease.check()
    failures: dict[str, str] = {}
    fatal: list[Exception] = []
    over = threading.Event()
    watcher = threading.Thread(
        target=watch, args=(mailbox, progress, failures, fatal, over, partial(_tell, store)), daemon=True
    )
    watcher.start()
    try:
        datasets = decode(plan.pending, study, backbone.transform, source)
        with visible_to_workers(store) as seen:
            for attempt in range(TUNE_RETRIES + 1):
                order = TrainingOrder(
                    plan,
                    study.scheduler,
                    Decisions(seen, study.scheduler),
                    workers=study.resources.max_workers,
                    on_stop=lambda experiment, stop: mailbox.put.remote(
                        ExperimentStopped(experiment=experiment.name, how=stopped(stop))
                    ),
                    follow=FollowUpRuns(
                        stages,
                        plan,
                        seen,
                        lambda runs, stand_ins: mailbox.put.remote(
                            FinalRunsAdmitted(wrapped_runs=wrap(runs), stand_ins=tuple(each.name for each in stand_ins))
                        ),
                    ),
                    is_halted=lambda: bool(fatal) or lease.is_lost,
                )
                try:
                    failures |= _tune(order, study, seen, backbone, mailbox, fit.concurrency, datasets, fatal.append)
                    break
                except RuntimeError as error:
                    if attempt == TUNE_RETRIES or not str(error).startswith(TUNES_OWN):
                        raise
                    print(f"Ray Tune fell over and is started again: {_first_line(error)}", flush=True)
                    plan = stages.plan(seen)
    finally:
        over.set()
        watcher.join(timeout=10)
        if not watcher.is_alive():
            end(mailbox)
    if fatal:
        raise fatal[0]
    lease.check()
    remove_leftovers(store)
    return failures


def _make_sure_that_nodes_see(store: Store, backbone: backbones.Resolved, source: str) -> None:
    """A folder of the driver's machine is another folder on every other node that does not mount it.

    Raises:
        StudyError: one of the nodes that are here does not; one that comes later says so when it trains.
    """
    if not store.is_local or len(cluster.capacity().nodes) < 2:
        return
    if blind := cluster.nodes_without(store.path(backbones.marker(backbone))):
        others = f"and {len(blind) - 1} more nodes do" if len(blind) > 1 else "does"
        reason = f"is a folder of this machine that node {blind[0]} {others} not see; {backbones.SHARED}"
        raise StudyError(source, "storage", f"'{store.path('').rstrip('/')}' {reason}")


def _tell(store: Store, failures: Mapping[str, str]) -> None:
    """For reports on a study that runs."""
    with contextlib.suppress(StorageError):  # the end of the sweep writes them again
        request.record_failures(store, failures)


def _tune(
    order: TrainingOrder,
    study: Study,
    store: Store,
    backbone: backbones.Resolved,
    mailbox: Any,
    concurrency: int,
    datasets: Mapping[DatasetConfig, SharedDataset],
    on_storage: OnStorage,
) -> dict[str, str]:
    trainable = tune.with_parameters(
        train_interval,
        backbone=backbone,
        resources=study.resources,
        store=store,
        mailbox=mailbox,
    )
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints tables whatever `verbose` says
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the report, in one line each
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(CREDENTIALS)
    indexing = BackgroundWriter()

    def hand(experiment: Experiment) -> None:
        """What the trial that starts now is to do; it is there before the trial asks."""
        ray.get(mailbox.hand.remote(experiment.name, wrap(work_on(experiment, datasets[experiment.dataset]))))

    def ended(name: str) -> None:
        """What is over may be indexed: a driver that is killed leaves little to be read again."""
        if order.is_over_for(name):
            indexing.submit(partial(renew, store, name))

    with scratch_folder("tune") as folder, released_when_abandoned(), console.interrupted_by_the_main_thread():
        results = tune.Tuner(
            tune.with_resources(trainable, cluster.trial_resources(study.resources)),
            tune_config=tune.TuneConfig(
                search_alg=IntervalSearcher(order, before=hand, after=ended, on_storage=on_storage),
                scheduler=IntervalScheduler(order, on_storage=on_storage),
                num_samples=-1,  # until no experiment is left to train
                max_concurrent_trials=concurrency,
                reuse_actors=not study.resources.is_distributed,  # one that is stopped while Train runs is spent
            ),
            run_config=tune.RunConfig(
                name=study.study,
                storage_path=folder,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=TRIAL_RETRIES),
            ),
        ).fit()
    indexing.flush()
    return {result.config["experiment"]: _reason(result.error) for result in results if result.error}


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0][:300]


def _reason(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else repr(error)
