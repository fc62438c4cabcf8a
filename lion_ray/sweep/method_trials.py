"""Where the methods of a study are tried: never in the driver, as some models abort the process that runs them.

On a cluster it is one task with a worker's cores, because a driver may be on a node that computes nothing, such as a
head node. The same holds where a Ray is up in this process already. Otherwise, and for a dry run, it is a child of this
process (`START`), which costs the seconds that torch and timm take to import. `lion_ray.sweep.driver` calls this for
what the study's store does not hold.
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
SAY_SECONDS, GIVE_UP_SECONDS = 15.0, 900.0
START = """
import sys
parent, *sys.path[:] = sys.argv[1:]
import ctypes, os
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG: whatever this process does, it is killed when its parent ends
if os.getppid() != int(parent):
    os._exit(1)
from lion_ray.sweep.method_trials import answer
answer()
"""


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
        if left:
            raise Ended("it left before it was done")
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
        watch = _Watch(child, backbone.name)
        try:
            child.stdin.write(f"{json.dumps(request)}\n")
            child.stdin.flush()  # it stays open: the child ends with this process
            for line in child.stdout:
                yield Outcome(**json.loads(line))
                watch.begin()
            status = child.wait()
        finally:
            watch.end()
            child.kill()
        if watch.has_given_up:
            raise Ended(f"no answer within {GIVE_UP_SECONDS / 60:.0f} minutes")
        if status:
            raise Ended(_how(status, errors))


class _Watch:
    """Says after a while which backbone is tried, and ends a child that does not answer at all."""

    def __init__(self, child: subprocess.Popen[str], backbone: str) -> None:
        self._child, self._backbone = child, backbone
        self.has_given_up, self._has_said = False, False
        self._timers: list[threading.Timer] = []
        self.begin()

    def begin(self) -> None:
        """Another outcome is waited for."""
        self.end()
        self._timers = [threading.Timer(SAY_SECONDS, self._say), threading.Timer(GIVE_UP_SECONDS, self._give_up)]
        for timer in self._timers:
            timer.daemon = True
            timer.start()

    def end(self) -> None:
        """Nothing is waited for."""
        for timer in self._timers:
            timer.cancel()

    def _say(self) -> None:
        if not self._has_said:
            self._has_said = True
            print(f"trying the methods of the study on {self._backbone} and one image", flush=True)

    def _give_up(self) -> None:
        self.has_given_up = True
        self._child.kill()


def _child(errors: IO[bytes]) -> subprocess.Popen[str]:
    """A process with this one's `sys.path` and nothing in front of it: no module of the folder it is started in."""
    return subprocess.Popen(
        [sys.executable, "-I", "-c", START, str(os.getpid()), *filter(None, sys.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
    )


def _how(status: int, errors: IO[bytes]) -> str:
    """The signal or status with which it ended, and the last line that it said."""
    errors.seek(0)
    said = errors.read().decode(errors="replace").split("\n")
    last = next((line.strip()[:300] for line in reversed(said) if line.strip()), "")
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"{name} ({last})" if last else name


def answer() -> None:
    """Answer the one request on standard input, a line per outcome. What the child runs, see `START`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    request = json.loads(sys.stdin.readline())
    configs = {int(index): MethodConfig(**config) for index, config in request["methods"].items()}
    for outcome in tried(BackboneConfig(**request["backbone"]), configs):
        print(json.dumps(dataclasses.asdict(outcome)), file=answers, flush=True)
