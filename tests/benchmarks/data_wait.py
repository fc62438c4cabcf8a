"""How long training waits for its data: `python -m tests.benchmarks.data_wait [--json FILE]`.

Trains LION on 192 noise images of 224 px for three epochs, once with the pixels in memory and once mapped from a file,
without and with views. Counts, in the process's only training thread, the seconds in which the next batch is waited
for, those of the views and of normalisation (both on the training device), and the whole epoch; the first is left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import numpy as np
import torch

from lion_ray import backbones, methods
from lion_ray.backbones import Transform
from lion_ray.config import BackboneConfig, MethodConfig, TrainConfig
from lion_ray.data import prefetch
from lion_ray.data.dataset import ArraySplit, Pixels
from lion_ray.data.decode.mapping import mapped
from lion_ray.data.pool import as_labels, read_only
from lion_ray.lottery import Mask, NoCheckpoints, TrainState
from lion_ray.training import batches, loop
from lion_ray.training.augmentation import augmented
from lion_ray.training.workers import SingleWorker

Value = TypeVar("Value")
NUM_IMAGES, SIZE = 192, 224
BACKBONE = BackboneConfig(name="tf_efficientnet_lite0", weights="random", image_size=SIZE)


class Stopwatch:
    """Seconds by name, since the last lap."""

    def __init__(self) -> None:
        self.seconds, self.since = defaultdict[str, float](float), time.perf_counter()

    def timed(self, name: str, act: Callable[..., Value]) -> Callable[..., Value]:
        """`act`, its time added to `name`."""

        def run(*arguments: Any, **options: Any) -> Value:
            start = time.perf_counter()
            try:
                return act(*arguments, **options)
            finally:
                self.seconds[name] += time.perf_counter() - start

        return run

    def waiting(self, stream: Iterator[Value]) -> Iterator[Value]:
        """`stream`, the time until each value added to `wait`."""
        wait = self.timed("wait", lambda: next(stream, None))
        while (value := wait()) is not None:
            yield value

    def lap(self) -> dict[str, float]:
        """All of it, and `epoch`."""
        found = {"epoch": time.perf_counter() - self.since, **self.seconds}
        self.seconds.clear()
        self.since = time.perf_counter()
        return found


def train(split: ArraySplit, augment: str, epochs: int) -> list[dict[str, float]]:
    """The seconds of each epoch."""
    watch, laps = Stopwatch(), []
    patches = (
        patch.object(batches, "ahead", lambda values: watch.waiting(prefetch(values))),
        patch.object(batches, "augmented", watch.timed("views", augmented)),
        patch.object(Transform, "of_pixels", watch.timed("normalisation", Transform.of_pixels)),
    )
    backbone, device = backbones.load(BACKBONE), torch.device("cpu")
    model = methods.build(MethodConfig(name="lion"), backbone, num_classes=10, seed=0)
    few = ArraySplit(pixels=split.images[:10], labels=split.labels[:10])
    with patches[0], patches[1], patches[2]:
        loop.fit(
            model,
            model.trained_part,
            (
                batches.prepare(model, split, backbone.transform, device, augment=augment),
                batches.prepare(model, few, backbone.transform, device),
            ),
            TrainConfig(epochs=epochs, batch_size=32, augment=augment),  # type: ignore[arg-type]
            state=TrainState(weights={name: weight.detach().clone() for name, weight in model.trained().items()}),
            mask=Mask.dense({}),
            keep=loop.KeptStates(),
            checkpointer=NoCheckpoints(),
            seed_for=len,
            workers=SingleWorker(),
            on_epoch=lambda _: laps.append(watch.lap()),
        )
    return laps[1:]


def shares(laps: list[dict[str, float]]) -> dict[str, float]:
    """Of the time of all epochs but the first."""
    total = sum(lap["epoch"] for lap in laps)
    found = {name: sum(lap.get(name, 0.0) for lap in laps) for name in ("wait", "views", "normalisation")}
    return {"seconds_per_epoch": total / len(laps), **{f"{name}_share": part / total for name, part in found.items()}}


def main() -> None:
    """Measure each storage and policy, and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    shape = (NUM_IMAGES, SIZE, SIZE, 3)

    def fill(pixels: Pixels) -> None:
        pixels[:] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, Any] = {}
        file = mapped(Path(folder), "noise", shape, fill)
        labels = as_labels(np.arange(NUM_IMAGES) % 10)
        memory = read_only(np.array(file))
        cases = {f"memory, {augment}": (memory, augment) for augment in ("none", "flip", "crop_flip", "randaugment")}
        for name, (pixels, augment) in {**cases, "mapped, none": (file, "none")}.items():
            laps = train(ArraySplit(pixels=pixels, labels=labels), augment, options.epochs)
            found[name] = {key: round(value, 5) for key, value in shares(laps).items()}
            print(name, found[name], flush=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
