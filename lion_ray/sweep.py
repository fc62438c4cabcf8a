"""A plan on Ray: one Tune trial per experiment, one report per round, as many at once as the cluster carries.

`pipeline` calls `run_sweep`. Each dataset is decoded once into the object store, where all trials of a node share it
without a copy. Tune's own state is thrown away: a killed sweep is started again from the store.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import tune

from lion_ray import backbones, data, trial
from lion_ray.board import Board
from lion_ray.config import DatasetConfig, ResourcesConfig, Study, StudyError
from lion_ray.distributed import SCRATCH, run_distributed
from lion_ray.experiments import Experiment
from lion_ray.lottery import Round
from lion_ray.memory import visible_to_workers
from lion_ray.planning import Plan
from lion_ray.progress import Progress, epoch_event
from lion_ray.store import Store
from lion_ray.team import Solo
from lion_ray.training import TrainingDiverged

TRIAL_RETRIES = 2  # a trial whose process died starts again at its first unfinished round
POLL_SECONDS = 0.25


def decode(config: DatasetConfig, transform: backbones.Transform, source: str) -> Any:
    """Decode a dataset into the object store, where its arrays are read-only and shared by all trials of a node."""
    decoded = data.find(config, source=source).decode(
        size=transform.size, interpolation=transform.interpolation, crop_fraction=transform.crop_fraction
    )
    return ray.put(decoded)


def run_sweep(plan: Plan, study: Study, store: Store, *, source: str = "study") -> dict[str, str]:
    """Run what is pending; returns the reason of each experiment that failed, by name.

    Raises:
        StudyError: one experiment alone asks for more than the cluster has, or an image cannot be decoded; no trial
            has started.
    """
    concurrency = connect(study.resources, source=source)
    board = Board.remote()
    progress = Progress(
        experiments=plan.pending,
        done_rounds={item.experiment.name: len(item.rounds) for item in plan.items},
        concurrency=concurrency,
    )
    failures: dict[str, str] = {}
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(board, progress, failures, over), daemon=True)
    watcher.start()
    try:
        with visible_to_workers(store) as shared:
            failures |= _tune(plan.pending, study, shared, board, concurrency, source)
    finally:
        over.set()
        watcher.join(timeout=10)
        store.remove(SCRATCH)
    return failures


def connect(resources: ResourcesConfig, *, source: str = "study") -> int:
    """Join the cluster that `RAY_ADDRESS` names (a submitted job's), or start one in here; returns the concurrency.

    Raises:
        StudyError: nobody answers at `RAY_ADDRESS`, or one experiment alone asks for more than the cluster has.
    """
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "local")
        embedded = {"include_dashboard": resources.workers > 1} if address == "local" else {}
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **embedded)
        except ConnectionError as error:
            raise StudyError("RAY_ADDRESS", address, "no Ray cluster answers there") from error
    return concurrency(resources, ray.cluster_resources(), source=source)


def concurrency(resources: ResourcesConfig, cluster: Mapping[str, float], *, source: str = "study") -> int:
    """How many experiments the cluster carries at once.

    Raises:
        StudyError: not even one, with the shortfall named.
    """
    need = {"CPU": resources.workers * resources.cpus, "GPU": resources.workers * resources.gpus}
    for kind, amount in need.items():
        if amount > cluster.get(kind, 0):
            has = f"the cluster has {cluster.get(kind, 0):g}"
            raise StudyError(source, "resources", f"one experiment needs {amount:g} {kind}, {has}")
    return min(int(cluster[kind] // amount) for kind, amount in need.items() if amount)


def run_trial(
    config: Mapping[str, Any],
    *,
    experiments: Mapping[str, Experiment],
    datasets: Mapping[DatasetConfig, Any],
    resources: ResourcesConfig,
    store: Store,
    board: Any,
) -> None:
    """One experiment, in a trial process. A round that diverges is the experiment's end, not the sweep's."""
    experiment = experiments[config["experiment"]]
    dataset = datasets[experiment.dataset]

    def on_epoch(experiment: Experiment, number: int, density: float, record: Mapping[str, Any]) -> None:
        board.put.remote(epoch_event(experiment, number, density, record))

    def on_diverged(error: TrainingDiverged) -> None:
        ray.get(board.put.remote({"failed": experiment.name, "reason": str(error)}))

    if resources.workers > 1:
        run_distributed(
            experiment,
            dataset,
            store,
            resources=resources,
            on_epoch=on_epoch,
            on_round=tune_metrics,
            on_diverged=on_diverged,
        )
        return
    device = trial.prepare_process(resources, deterministic=experiment.train.deterministic)
    rounds = trial.run_experiment(experiment, ray.get(dataset), store, team=Solo(), device=device, on_epoch=on_epoch)
    try:
        for finished in rounds:
            tune.report(tune_metrics(finished))
    except TrainingDiverged as error:
        on_diverged(error)


def tune_metrics(finished: Round) -> dict[str, Any]:
    """What schedulers may see of a round: never a test figure."""
    return {"round": finished.number, "val_accuracy": finished.val_accuracy, "density": finished.metrics["density"]}


def _tune(
    pending: Sequence[Experiment], study: Study, store: Store, board: Any, concurrency: int, source: str
) -> dict[str, str]:
    transform = backbones.load(study.backbone).transform
    used = dict.fromkeys(experiment.dataset for experiment in pending)
    trainable = tune.with_parameters(
        run_trial,
        experiments={experiment.name: experiment for experiment in pending},
        datasets={config: decode(config, transform, source) for config in used},
        resources=study.resources,
        store=store,
        board=board,
    )
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # the new one prints tables whatever `verbose` says
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # failures are told by the report, in one line each
    with tempfile.TemporaryDirectory(prefix="lion_ray-tune-") as scratch:
        results = tune.Tuner(
            tune.with_resources(trainable, trial_resources(study.resources)),
            param_space={"experiment": tune.grid_search([experiment.name for experiment in pending])},
            tune_config=tune.TuneConfig(max_concurrent_trials=concurrency, reuse_actors=True),
            run_config=tune.RunConfig(
                name=study.study,
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=TRIAL_RETRIES),
            ),
        ).fit()
    return {result.config["experiment"]: _reason(result.error) for result in results if result.error}


def trial_resources(resources: ResourcesConfig) -> Any:
    """One worker is the trial itself. With more, the trial only launches Train and must hold no CPU: deadlock."""
    if resources.workers > 1:
        return {"CPU": 0, "memory": 200 * 2**20}
    return {"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})}


def _watch(board: Any, progress: Progress, failures: dict[str, str], over: threading.Event) -> None:
    """Show events until the sweep is over and the board is empty."""
    while True:
        last = over.is_set()
        for event in ray.get(board.take.remote()):
            if "failed" in event:
                failures[event["failed"]] = event["reason"]
            else:
                progress.show(event)
        if last:
            progress.finish()
            return
        over.wait(POLL_SECONDS)


def _reason(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else repr(error)
