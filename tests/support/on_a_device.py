"""Whole experiments on the device of `pretend_device`, in a process of their own; prints what came of each as JSON.

python -m tests.support.on_a_device
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lion_ray import backbones
from lion_ray.experiments import Experiment
from lion_ray.lottery import EpochRecord, Round
from lion_ray.methods import METHODS
from lion_ray.store import Store
from lion_ray.training.workers import SingleWorker
from lion_ray.trial import checkpoints
from lion_ray.trial.trainer import EpochContext, OnEpoch, run_experiment
from tests.conftest import SMALL_CONVNET, SMALL_VIT, STUDY
from tests.support import pretend_device
from tests.support import small_runs as helpers

NEEDS_VIT = ("vpt_shallow", "vpt_deep", "adapter", "lora")
SMALL = {name: SMALL_VIT if name in NEEDS_VIT else SMALL_CONVNET for name in METHODS if name != "linear"}
WITHOUT_INPUT = "methods=[{{name: lion, input: false, output: {{source: {}}}}}]"
CASES: dict[str, list[str]] = {
    **{name: [f"methods=[{name}]", *([f"backbone={SMALL[name]}"] if name in SMALL else [])] for name in METHODS},
    **{f"output.source: {source}": [WITHOUT_INPUT.format(source)] for source in ("image", "map", "stages", "pooled")},
    "output.source: image, behind an input prompt": ["methods=[{name: lion, output: {source: image}}]"],
    "LION on a ViT": [f"backbone={SMALL_VIT}"],
    "cell: explicit": ["methods=[{name: lion, cell: explicit, depth: 3}]"],
    "solver: anderson": ["methods=[{name: lion, solver: anderson}]"],
    "solver: broyden, unrolled": ["methods=[{name: lion, solver: broyden, gradient: unrolled}]"],
    "gradient: one_step": ["methods=[{name: lion, gradient: one_step}]"],
    "gradient: neumann": ["methods=[{name: lion, gradient: {neumann: 2}}]"],
    "robust": ["train.epochs=2", "train.robust={warmup_epochs: 1, tau: 0.1, shrinkage: 0.01}"],
    "criterion: gradient_weight, reinit": ["lottery.criterion=gradient_weight", "lottery.controls=[reinit]"],
    "rewind: epoch": ["train.epochs=2", "lottery.rewind={epoch: 1}"],
    "augment: randaugment, bf16": [
        "train.augment=randaugment", "train.precision=bf16", f"backbone={SMALL_CONVNET}",
        "lottery.criterion=random", "lottery.controls=[]",  # magnitudes would be rounded to other masks
    ],
    "adam": ["train.optimizer=adam"],
}  # fmt: skip


class Killed(Exception):
    """In the middle of a round."""


def main() -> None:
    """Every case, then one that is interrupted and goes on."""
    device = pretend_device.install()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tiny.yaml"
        file.write_text(STUDY.format(storage=f"{folder}/results"))

        def made(*overrides: str) -> Experiment:
            common = ["train.epochs=1", "lottery.rounds=2", "lottery.controls=[random_ticket]"]
            return helpers.experiment(file, *common, *overrides)

        cases: dict[str, Callable[[], Any]] = {
            name: partial(compared, made(*overrides), f"{folder}/{name}", device) for name, overrides in CASES.items()
        }
        asked = {name: CASES[name] for name in ("linear", "full", "lion", "cell: explicit")}
        asked["robust"] = [*CASES["cell: explicit"], *CASES["robust"]]
        for name, overrides in asked.items():
            cases[f"waits: {name}"] = partial(waits_per_step, made, f"{folder}/{name}", device, *overrides)
        cases["interrupted"] = lambda: interrupted(made("train.epochs=3"), folder, device)
        json.dump({name: outcome(name, case) for name, case in cases.items()}, sys.stdout)
        sys.stdout.flush()


def outcome(name: str, case: Callable[[], Any]) -> Any:
    """What came of it, or what went wrong."""
    print(f"{name}:", file=sys.stderr, flush=True)  # the last one is the one that ended this process
    try:
        return case()
    except Exception as error:  # noqa: BLE001 (the test tells)
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def compared(experiment: Experiment, url: str, device: torch.device) -> dict[str, float]:
    """How many rounds there are, and how far weights trained there are from those trained here."""
    here = helpers.run(experiment, Store(f"{url}/here"))
    there = run(experiment, Store(f"{url}/there"), device)
    furthest = max(
        float((mine.weights[name] - theirs.weights[name]).abs().max())
        for mine, theirs in zip(here, there, strict=True)
        for name in mine.weights
    )
    return {"rounds": len(there), "furthest": furthest}


def waits_per_step(make: Callable[..., Experiment], url: str, device: torch.device, *overrides: str) -> float:
    """How often the host waits in a step: what twice as many steps wait more, on the same number of images."""
    counts = []
    for batch_size in (16, 8):
        experiment = make("lottery.rounds=1", "lottery.controls=[]", f"train.batch_size={batch_size}", *overrides)
        before = pretend_device.waited.total()
        run(experiment, Store(f"{url}/{batch_size}"), device)
        counts.append(pretend_device.waited.total() - before)
    return (counts[1] - counts[0]) / (48 / 8 - 48 / 16)


def interrupted(experiment: Experiment, folder: str, device: torch.device) -> bool:
    """Whether rounds come out with the same bits when one ends in its middle and is gone on with."""
    checkpoints.StoreCheckpointer.__init__.__defaults__ = (0.0,)  # a note after each epoch
    stores = [Store(f"{folder}/{name}") for name in ("undisturbed", "interrupted")]
    run(experiment, stores[0], device)

    def kill(training: EpochContext, record: EpochRecord) -> None:
        if (training.round, record.epoch) == (1, 1):
            raise Killed

    try:
        run(experiment, stores[1], device, kill)
    except Killed:
        run(experiment, stores[1], device)
        return helpers.artifacts(stores[0]) == helpers.artifacts(stores[1])
    raise AssertionError("it was not interrupted")


def run(experiment: Experiment, store: Store, device: torch.device, on_epoch: OnEpoch = lambda *_: None) -> list[Round]:
    """All rounds on the device; the backbone is this run's own, as it will be moved."""
    backbone = backbones.load(experiment.backbone).on_host()
    with pretend_device.Pretending():
        rounds = run_experiment(
            experiment, helpers.decoded(experiment), store, backbone=backbone, workers=SingleWorker(), device=device,
            on_epoch=on_epoch,
        )  # fmt: skip
        return list(rounds)


if __name__ == "__main__":
    main()
    os._exit(0)  # autograd's thread for such a device does not survive the end of Python
