"""The cluster at hand: joining or starting it, and how many experiments it carries at once. Called by `sweep`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import ray

from lion_ray import job
from lion_ray.config import ResourcesConfig, StudyError

AUTOSCALES_TO = "LION_RAY_AUTOSCALES_TO"


def connect(resources: ResourcesConfig, *, source: str = "study") -> int:
    """Join the cluster that `RAY_ADDRESS` names (a submitted job's), or start one in here; returns the concurrency.

    Raises:
        StudyError: nobody answers at `RAY_ADDRESS`, or one experiment alone asks for more than the cluster has or
            will have.
    """
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "local")
        if not sys.stdout.isatty():
            os.environ.setdefault("RAY_COLOR_PREFIX", "0")  # Ray colours its messages about lost nodes, in logs too
        embedded = {"include_dashboard": resources.workers > 1} if address == "local" else {}
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **embedded)
        except ConnectionError as error:
            remedy = "with token authentication, RAY_AUTH_MODE=token and the cluster's token are needed here too"
            raise StudyError("RAY_ADDRESS", address, f"no Ray cluster answers there; {remedy}") from error
        job.end_when_stopped()  # instead of Ray's handler
    present = ray.cluster_resources()
    full = full_size(present)
    if missing := [f"{full[kind]:g} {kind}" for kind in full if full[kind] > present.get(kind, 0)]:
        print(f"autoscaling: the cluster grows on demand to {', '.join(missing)}; nodes take minutes to come")
    return concurrency(resources, full, source=source)


def full_size(present: Mapping[str, float]) -> dict[str, float]:
    """What the cluster has once its autoscaler has given all: Ray itself does not tell, so the cluster files do.

    Raises:
        StudyError: `LION_RAY_AUTOSCALES_TO` is not like `CPU=32,GPU=8`.
    """
    promised = os.environ.get(AUTOSCALES_TO, "")
    try:
        pairs = [part.split("=") for part in promised.split(",") if part]
        full = {kind.strip(): float(amount) for kind, amount in pairs}
    except ValueError as error:
        raise StudyError(AUTOSCALES_TO, promised, "must be like CPU=32,GPU=8") from error
    return {kind: max(present.get(kind, 0), full.get(kind, 0)) for kind in ("CPU", "GPU")}


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


def trial_resources(resources: ResourcesConfig) -> Any:
    """One worker is the trial itself. With more, the trial only launches Train and must hold no CPU: deadlock."""
    if resources.workers > 1:
        return {"CPU": 0, "memory": 200 * 2**20}
    return {"CPU": resources.cpus, **({"GPU": resources.gpus} if resources.gpus else {})}
