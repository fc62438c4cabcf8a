"""All 387,904 test images of VTAB in bounded memory: `python -m tests.benchmarks.whole_vtab [--num N] [--json FILE]`.

Writes as many 32 x 32 PNGs as Parquet shards (row groups of 100), then runs a whole experiment on them without memory
for decoded images: identity, training of a linear probe on a tiny random backbone, evaluation. Once with a tenth of the
images and once with all, each in a process of its own; the peaks of memory tell whether it is bounded. Decoded at once
the images would take 1.2 GB at 32 px, and 58 GB at 224.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

NUM_VTAB, SHARDS, GROUP, DISTINCT = 387_904, 8, 100, 2000
STUDY = """
study: whole
storage: {folder}/results
backbone: {{name: test_resnet, weights: random, image_size: 32}}
datasets: [{{name: whole, url: {folder}/images}}]
methods: [linear]
train: {{epochs: 1, batch_size: 100}}
data: {{memory_gb: 0, cache: {folder}/cache}}
"""


def png(index: int) -> bytes:
    """Noise whose brightness is the class."""
    pixels = np.random.default_rng(index).integers(0, 128, (32, 32, 3), dtype=np.uint8) + np.uint8(12 * (index % 10))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()


def write(folder: Path, split: str, num: int, shards: int, images: list[bytes]) -> None:
    """One split; its images repeat."""
    for shard in range(shards):
        rows = range(shard * num // shards, (shard + 1) * num // shards)
        image = pa.array([{"bytes": images[row % DISTINCT], "path": None} for row in rows])
        label = pa.array([row % 10 for row in rows])
        file = folder / f"{split}-{shard:05}-of-{shards:05}.parquet"
        pq.write_table(pa.table({"image": image, "label": label}), file, row_group_size=GROUP)


def run(folder: Path) -> dict[str, float]:
    """The experiment in this process: seconds and the process's peak of memory."""
    import torch

    from lion_ray import backbones, config, data
    from lion_ray.experiments import expand
    from lion_ray.store import Store
    from lion_ray.training.workers import SingleWorker
    from lion_ray.trial.trainer import run_experiment

    (folder / "study.yaml").write_text(STUDY.format(folder=folder))
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    study = config.load(folder / "study.yaml")
    (experiment,) = expand(study)
    identified = time.perf_counter()
    backbone = backbones.load(experiment.backbone)
    transform = backbone.transform
    storage = data.SplitStorage(in_memory=frozenset(), cache=study.data.cache, identity=experiment.digest)
    dataset = data.find(experiment.dataset).decode(
        size=transform.size, interpolation=transform.interpolation, storage=storage
    )
    rounds = run_experiment(
        experiment,
        dataset,
        Store(f"{folder}/results"),
        backbone=backbone,
        workers=SingleWorker(),
        device=torch.device("cpu"),
        on_epoch=lambda *_: None,
    )
    (found,) = rounds
    return {
        "test_images": len(dataset.test),
        "test_accuracy": found.metrics.test_accuracy or 0.0,
        "identity_seconds": identified - started,
        "seconds": time.perf_counter() - started,
        "rss_mb_after_imports": before / 1024,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measured(num: int) -> dict[str, float]:
    """`run` on `num` test images in a fresh process."""
    images = [png(index) for index in range(DISTINCT)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "images").mkdir()
        for split, size, shards in (("train", 800, 1), ("val", 200, 1), ("test", num, SHARDS)):
            write(Path(folder) / "images", split, size, shards, images)
        command = [sys.executable, "-m", "tests.benchmarks.whole_vtab", "--run", folder]
        found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {key: round(value, 3) for key, value in found.items()}


def main() -> None:
    """Measure a tenth and the whole, and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--num", type=int, default=NUM_VTAB)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        print(json.dumps(run(options.run)))
        return
    found: dict[str, Any] = {}
    for name, num in (("a tenth", options.num // 10), ("whole", options.num)):
        found[name] = measured(num)
        print(name, found[name], flush=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
