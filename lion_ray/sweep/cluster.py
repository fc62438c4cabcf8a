"""The cluster at hand: joining or starting it, and what its nodes have. Called by `sweep`, and for a dry run."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import ray
from ray._private import accelerators
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lion_ray import job
from lion_ray.config import ResourcesConfig, StudyError
from lion_ray.sweep.address import VARIABLE, cluster_address, wait_for_answer
from lion_ray.sweep.capacity import Capacity, Fit, Resources, fit, num_workers

UNLIMITED = 10_000  # nodes of a type without a limit; more is Ray's business
AUTOSCALES_TO = "LION_RAY_AUTOSCALES_TO"
START_ATTEMPTS = 3
ANSWER_SECONDS = 60.0  # a node starts a process for its first task
ROOM_SECONDS = 15.0  # to import torch in a new process
Item = TypeVar("Item")
JOIN_SECONDS = 30.0  # of a cluster that listens
QUIET: Mapping[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


def connect(resources: ResourcesConfig, *, source: str = "study") -> Fit:
    """Join the cluster that `RAY_ADDRESS` names (a submitted job's), or start one in here; returns what fits it.

    Raises:
        StudyError: nobody answers at `RAY_ADDRESS`, or one experiment alone can never be scheduled.
        job.StartError: none could be started in here.
    """
    if not ray.is_initialized():
        address = cluster_address()
        if not sys.stdout.isatty():
            os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # Ray colours its messages about lost nodes, in logs too
        if address is None:
            start(include_dashboard=resources.is_distributed)
        else:
            _join(address)
    return fit(resources, capacity(), source=source)


def start(**settings: Any) -> None:
    """A Ray in here. It gives its parts 30 s each; where others take the cores it needs a second try, seldom more.

    Raises:
        job.StartError: it did not come up at the last try either.
    """
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            ray.init(address="local", **QUIET, **settings)
            return
        except Exception as error:  # Ray raises whatever it likes here, a bare Exception too
            ray.shutdown()
            if attempt == START_ATTEMPTS:
                raise job.StartError(f"Ray did not start on this machine, tried {attempt} times: {error}") from error
            print(f"Ray did not start, trying again: {' '.join(str(error).split())}", flush=True)


def preview(resources: ResourcesConfig, *, source: str = "study") -> str | None:
    """What a run would lack or wait for, without starting a Ray; None if nothing.

    Raises:
        StudyError: nobody answers at `RAY_ADDRESS`.
    """
    address = cluster_address()
    if address is not None and not ray.is_initialized():
        _join(address)
    try:
        return fit(resources, capacity() if address else _of_this_machine(), source=source).awaited
    except StudyError as lacking:
        return str(lacking)


def _of_this_machine() -> Capacity:
    """What a Ray that is started in here would find."""
    gpus = accelerators.get_accelerator_manager_for_resource("GPU").get_current_node_num_accelerators()
    return Capacity(nodes=[{"CPU": float(ray._private.utils.get_num_cpus()), "GPU": float(gpus)}])


def _join(address: str) -> None:
    wait_for_answer(address)
    remedy = "with token authentication, RAY_AUTH_MODE=token and the cluster's token are needed here too"
    told = f"{VARIABLE}: {address} listens, but no Ray cluster answers there; {remedy}"
    watchdog = threading.Timer(JOIN_SECONDS, job.end_at_once, [told], {"status": 2})
    watchdog.daemon = True
    watchdog.start()
    try:
        ray.init(address=address, **QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise StudyError(VARIABLE, address, f"no Ray cluster answers there ({_first_line(error)}); {remedy}") from error
    finally:
        watchdog.cancel()


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]


def capacity() -> Capacity:
    """Of the cluster that this process is connected to."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    config = ray._private.state.state.get_cluster_config()  # what an autoscaler told the cluster, if it tells
    to_come = _to_come(config.node_group_configs if config else ())
    return Capacity(nodes=nodes, to_come=to_come or promised())


def object_store_bytes() -> float:
    """Of the node that has least: what is put there once is copied to every node that reads it."""
    sizes = [node["Resources"].get("object_store_memory", 0.0) for node in ray.nodes() if node["Alive"]]
    return min((size for size in sizes if size), default=0.0)


def nodes_without(path: str) -> list[str]:
    """The nodes, by host name, on which there is nothing at `path`; none that does not answer in time."""
    nodes = [node for node in ray.nodes() if node["Alive"]]
    task = ray.remote(num_cpus=0)(os.path.exists)
    asked = {
        task.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(path): node
        for node in nodes
    }
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=ANSWER_SECONDS)
    return [asked[answer]["NodeManagerHostname"] for answer in answered if not _value(answer)]


def _value(answer: Any) -> bool:
    """What a node said; True if it died before."""
    try:
        return bool(ray.get(answer))
    except ray.exceptions.RayError:
        return True


class Lost(Exception):
    """The process or node that ran a task is gone; the message says why."""


def stream(function: Callable[..., Iterator[Item]], *arguments: Any, cpus: int, waiting: str) -> Iterator[Item]:
    """What the generator `function` gives, run as one task; `waiting` is said if no node has room for it at once.

    Raises:
        Lost: its process or its node ended before it did.
    """
    items = ray.remote(num_cpus=cpus, max_retries=0)(function).remote(*arguments)
    started, _ = ray.wait([items], timeout=ROOM_SECONDS)
    if not started:
        print(waiting, flush=True)
    try:
        for item in items:
            yield ray.get(item)
    except ray.exceptions.RayTaskError:
        raise
    except ray.exceptions.RayError as error:
        raise Lost(_first_line(error)) from error


def works_here(resources: ResourcesConfig) -> bool:
    """Whether this process's own node carries workers."""
    here = ray.get_runtime_context().get_node_id()
    own = [node["Resources"] for node in ray.nodes() if node["NodeID"] == here]
    return any(num_workers(node, resources.per_worker) for node in own)


def promised() -> list[tuple[Resources, int]]:
    """What the cluster's files say in `LION_RAY_AUTOSCALES_TO`, for autoscalers that do not tell: the sum of all nodes.

    Raises:
        StudyError: it is not like `CPU=32,GPU=8`.
    """
    text = os.environ.get(AUTOSCALES_TO, "")
    try:
        pairs = [part.split("=") for part in text.split(",") if part]
        total = {kind.strip(): float(amount) for kind, amount in pairs}
    except ValueError as error:
        raise StudyError(AUTOSCALES_TO, text, "must be like CPU=32,GPU=8") from error
    return [(total, 1)] if total else []


def _to_come(groups: Sequence[Any]) -> list[tuple[Resources, int]]:
    limits = [(dict(group.resources), int(group.max_count)) for group in groups]
    return [(shape, limit if limit >= 0 else UNLIMITED) for shape, limit in limits]


def trial_resources(resources: ResourcesConfig) -> Any:
    """One worker is the trial itself. With more, the trial only launches Train and must hold no CPU: deadlock."""
    if resources.is_distributed:
        return {"CPU": 0, "memory": 200 * 2**20}
    return resources.per_worker
