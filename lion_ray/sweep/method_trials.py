"""Where the methods of a study are tried: never in the driver, as some models abort the process that runs them.

On a cluster it is one task with a worker's cores, for a driver may be where nothing is to be computed, such as a head
node; also where a Ray is up in this process already. Else it is a child of this process, `python -m
lion_ray.sweep.method_trials`, which costs the seconds that torch and timm take to import; a dry run starts nothing on a
cluster and has a child, too. Called by `driver` for what the study's store does not hold.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from typing import IO

from lion_ray.config import BackboneConfig, MethodConfig, Study
from lion_ray.methods import Outcome, Trials, key_of, outcomes
from lion_ray.sweep.address import cluster_address

Configs = Mapping[int, MethodConfig]


class Ended(Exception):
    """The process that tried ended without a word; the message says how."""


def trials(study: Study, *, source: str, is_dry: bool) -> Trials:
    """What makes the trials of `study`, an outcome each; a process that ends meanwhile is one, too.

    Raises:
        StudyError: from the trials, nobody answers at `RAY_ADDRESS`, or the cluster can never hold a worker.
    """
    backbone = study.backbone.model_copy(update={"weights": "random"})  # their shapes are what is tried
    on_cluster = not is_dry and (cluster_address() is not None or _ray_is_up())
    make = partial(_on_cluster, study, source) if on_cluster else _in_a_child
    return lambda configs: _named(make(backbone, configs), backbone, configs)


def tried(backbone: BackboneConfig, configs: Configs) -> Iterator[Outcome]:
    """Try in this process: what task and child run."""
    from lion_ray import backbones  # timm takes seconds to import

    yield from outcomes(
        configs,
        lambda: backbones.in_one_line(backbones.specimen, backbone, ""),
        lambda: backbones.sizes_that_do(backbone),
    )


def _named(made: Iterator[Outcome], backbone: BackboneConfig, configs: Configs) -> Iterator[Outcome]:
    """The outcomes; where the process ended, the trial that it was at has the problem."""
    left = ["backbone", *map(key_of, configs)]
    try:
        for outcome in made:
            left = left[1:]
            yield outcome
    except Ended as error:
        names = {key_of(index): f"'{config.name}' on {backbone.name}" for index, config in configs.items()}
        if left:
            what = names.get(left[0], backbone.name)
            yield Outcome(key=left[0], problem=f"{what} ends the process that tries it on one image: {error}")


def _on_cluster(study: Study, source: str, backbone: BackboneConfig, configs: Configs) -> Iterator[Outcome]:
    from lion_ray.sweep import cluster  # Ray takes seconds to import

    fit, cpus = cluster.connect(study.resources, source=source), study.resources.cpus
    waiting = fit.awaited or f"no node has {cpus} CPU free to try the methods on"
    try:
        yield from cluster.stream(tried, backbone, configs, cpus=cpus, waiting=f"waiting: {waiting}")
    except cluster.Lost as error:
        raise Ended(str(error)) from error


def _ray_is_up() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _in_a_child(backbone: BackboneConfig, configs: Configs) -> Iterator[Outcome]:
    request = {
        "backbone": backbone.model_dump(mode="json"),
        "methods": {index: {"name": config.name, **config.options} for index, config in configs.items()},
    }
    with tempfile.TemporaryFile() as errors, _child(errors) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(f"{json.dumps(request)}\n")
            child.stdin.flush()  # it stays open: the child ends with this process
            for line in child.stdout:
                yield Outcome(**json.loads(line))
            status = child.wait()
        finally:
            child.kill()
        if status:
            raise Ended(_how(status, errors))


def _child(errors: IO[bytes]) -> subprocess.Popen[str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-m", "lion_ray.sweep.method_trials"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )


def _how(status: int, errors: IO[bytes]) -> str:
    """The signal or status with which it ended, and the last line that it said."""
    errors.seek(0)
    said = errors.read().decode(errors="replace").split("\n")
    last = next((line.strip()[:300] for line in reversed(said) if line.strip()), "")
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"{name} ({last})" if last else name


def _main() -> None:
    """Answer the one request on standard input, a line per outcome."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    configs = {int(index): MethodConfig(**config) for index, config in request["methods"].items()}
    for outcome in tried(BackboneConfig(**request["backbone"]), configs):
        print(json.dumps(dataclasses.asdict(outcome)), file=answers, flush=True)


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    _main()
