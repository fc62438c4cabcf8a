"""One experiment on several workers under Ray Train: the same rounds, all of them in one worker group.

Called by a Tune trial (`sweep`) when a study asks for two workers or more. Every worker runs `trial.run_experiment`;
worker 0 alone writes to the store and reports. Train's own state is a convenience: the store is the truth.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from typing import Any

import ray
import ray.train
import torch
import torch.distributed as dist
from ray.train import ControllerError
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lion_ray.config import ResourcesConfig
from lion_ray.store.local import scratch_folder
from lion_ray.sweep import worker_setup
from lion_ray.sweep.trial_body import TrialBody
from lion_ray.training.workers import Value, Workers

REFITS, PAUSE_SECONDS = 2, 5.0  # of a Train run whose controller failed; a worker's death is Train's to mend
WAITED = "WorkerGroupStartupTimeoutError"  # a minute for resources that are not there: no failure


class ProcessGroup(Workers):
    """The workers of this process's `torch.distributed` group."""

    def __init__(self, device: torch.device) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self._device = device

    def on_rank_zero(self, act: Callable[[], Value]) -> Value:
        """Worker 0 acts and sends its result, or its error, to the others."""
        outcome: list[Any] = [None, None]
        if self.is_rank_zero:
            try:
                outcome[0] = act()
            except Exception as error:  # noqa: BLE001 (raised below, on every worker)
                outcome[1] = error
        dist.broadcast_object_list(outcome, src=0, device=self._device)
        if outcome[1] is not None:
            raise outcome[1]
        result: Value = outcome[0]
        return result

    def sum(self, values: Tensor) -> Tensor:
        """All-reduce."""
        total = values.clone()
        dist.all_reduce(total)
        return total

    def gather(self, value: Value) -> list[Value]:
        """All-gather."""
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def wrap(self, module: nn.Module) -> nn.Module:
        """DDP over what is trained; every worker has loaded the frozen weights itself, so they are not sent around."""
        frozen = [name for name, parameter in module.named_parameters() if not parameter.requires_grad]
        frozen += [name for name, _ in module.named_buffers()]
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, frozen)  # type: ignore[no-untyped-call]
        ids = [self._device.index] if self._device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids)


def backend(resources: ResourcesConfig) -> str:
    """NCCL where workers have GPUs, gloo otherwise."""
    return "nccl" if resources.gpus else "gloo"


def scaling(resources: ResourcesConfig) -> ray.train.ScalingConfig:
    """What Train asks the cluster for."""
    is_elastic = resources.min_workers < resources.max_workers
    num_workers = (resources.min_workers, resources.max_workers) if is_elastic else resources.max_workers
    return ray.train.ScalingConfig(
        num_workers=num_workers, use_gpu=bool(resources.gpus), resources_per_worker=resources.per_worker
    )


def run_on_workers(body: TrialBody) -> None:
    """Run all rounds in one worker group; each is reported to the Tune trial that calls this."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # the default makes every report wait 2 s

    def train() -> None:
        """All rounds on one worker. Train retries whatever this raises, so what no repetition mends is not raised."""
        device = worker_setup.prepare(body.resources, deterministic=body.experiment.train.deterministic)
        device = get_device() if device.type == "cuda" else device
        body.run(ProcessGroup(device), device, ray.train.report)

    refits = 0
    while (failure := _fit(train, body.experiment.name, body.resources)) is not None:
        if type(failure.controller_failure).__name__ == WAITED:  # for nodes that are lost, or to come
            continue
        if refits == REFITS:
            raise failure
        time.sleep(PAUSE_SECONDS * 2**refits)  # what is done is in our store: the next run goes on from there
        refits += 1


def _fit(train: Callable[[], None], name: str, resources: ResourcesConfig) -> ControllerError | None:
    """One Train run; returns what its controller died of. Its own files are on this node, where the controller is: no
    outage of the storage can end it. A controller repeats nothing: one whose group dies while it starts keeps what it
    has reserved and waits for as much again, for ever (Ray 2.60).
    """
    with scratch_folder("train") as folder:
        run_config = ray.train.RunConfig(
            name=f"{name}-{uuid.uuid4().hex[:8]}",  # a fresh run: what is done is in our store
            storage_path=folder,
            failure_config=ray.train.FailureConfig(max_failures=2, controller_failure_limit=0),
            callbacks=[TuneReportCallback()],
        )
        trainer = TorchTrainer(
            train,
            scaling_config=scaling(resources),
            torch_config=TorchConfig(backend=backend(resources)),
            run_config=run_config,
        )
        try:
            trainer.fit()
        except ControllerError as failure:
            return failure.with_traceback(None)  # its frames hold the controller, which has to go
        return None
