"""How long the report of a finished study of 10,000 experiments takes: synthetic, on local files.

python -m tests.benchmarks.report_of_many [--seeds 50] [--rounds 3] [--epochs 10]

19 datasets, 11 method entries and these seeds; the goal is 15 s of CPU for the whole command. The index is written by
the code that a sweep ends with, and the artifacts themselves are left out, as in `planning_on_s3`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from lion_ray.data.catalogue.vtab import VTAB
from lion_ray.experiments import Experiment
from lion_ray.lottery import WINNING, EpochRecord
from lion_ray.store import Store
from lion_ray.study import index, request
from lion_ray.study.record import RoundRecord
from lion_ray.study.rounds import FoundRounds
from tests.support import made_studies as reports

WIDTHS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128)


def found_of(experiment: Experiment, epochs: int, like: Mapping[str, float]) -> FoundRounds:
    """Its rounds as the index holds them, their histories as long as real ones."""
    rows = []
    for number in range(experiment.num_rounds):
        accuracy = 0.5 + int(experiment.digest[:4], 16) / 2**18 - 0.01 * number
        history = [
            EpochRecord(epoch, 1.0, accuracy, health=like, val_accuracy=accuracy, evaluation_health=like)._asdict()
            for epoch in range(epochs)
        ]
        fields = reports.record(experiment, number, accuracy, WINNING, {"history": history})
        rows.append(RoundRecord.from_json({**fields, "seconds": 10.0, "finished": 1.7e9}))
    return FoundRounds(rounds=tuple(rows), has_start=True, num_files=20, listing="x")


def main() -> None:
    """Write the study, then time the command in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    lions = [{"name": "lion", "label": f"lion width {width}", "output": {"width": width}} for width in WIDTHS]
    of = reports.study(
        study="huge",
        datasets=[{"name": task.name, "url": f"s3://bucket/{task.name}"} for task in VTAB],
        methods=["linear", *lions],
        seeds=list(range(options.seeds)),
        lottery={"rounds": options.rounds, "prune": 0.5},
    )
    figures = ("residual_max", "residual_mean", "steps_mean", "steps_max", "num_samples", "share_unconverged")
    like = {f"{prompt}.prompt.{figure}": 0.001 for prompt in ("body", "head") for figure in figures}
    with TemporaryDirectory() as folder:
        store, asked = Store(folder), reports.experiments(of)
        request.record(store, of, asked)
        index.compact(store, {each.name: found_of(each, options.epochs, like) for each in asked})
        command = [sys.executable, "-m", "lion_ray.cli", "report", folder, "--to", f"{folder}/report"]
        began = time.monotonic()
        subprocess.run(command, check=True)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        told = {
            "experiments": len(asked),
            "seconds": round(time.monotonic() - began, 1),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
            "peak_mb": used.ru_maxrss // 1024,
            "page_bytes": (Path(folder) / "report" / "report.html").stat().st_size,
        }
        print(json.dumps(told))


if __name__ == "__main__":
    main()
