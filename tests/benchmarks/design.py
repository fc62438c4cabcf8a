"""Which design of LION's output prompt is best on validation: variants, each at its own best rate per dataset.

    python -m tests.benchmarks.design [--shots K] ROOT_OF_BUILT_DATASETS [VARIANT ...]

The search trials of `pipelines/evidence.yaml`, in this process and for several seeds: what they are handed has no test
split. Its figures choose defaults and nothing else; `design.json` beside it is the last run, one variant after another.
With `--shots` each class has K training images, and `design_K_shots.json` holds the figures.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch

from lion_ray import backbones, config, data
from lion_ray.config import DatasetConfig, Study
from lion_ray.data import Dataset
from lion_ray.experiments import Experiment, expand
from lion_ray.experiments.protocol import SearchData
from lion_ray.report.pairing import Gap, over_sets_like
from lion_ray.store import Store
from lion_ray.training.workers import SingleWorker
from lion_ray.trial.trainer import run_experiment

STUDY = Path(__file__).parent.parent.parent / "pipelines/evidence.yaml"
RATES, SEEDS = [1.0e-2, 3.0e-3, 1.0e-3, 3.0e-4], (10, 11, 12)  # seeds of no final run
REFERENCE = "lion"
OUTPUT = "name: lion, input: false, output: {{source: stages{}}}{}"
VARIANTS = {
    "linear": "name: linear",
    "linear, weight_decay: 1": "name: linear, train: {weight_decay: 1.0}",
    REFERENCE: OUTPUT.format("", ""),
    "cell: explicit, depth: 2": OUTPUT.format("", ", cell: explicit, depth: 2"),
    "cell: explicit, depth: 1": OUTPUT.format("", ", cell: explicit"),
    "gamma: 0.9": OUTPUT.format("", ", gamma: 0.9"),
    "auxiliary: 0": OUTPUT.format(", auxiliary: 0", ""),
    "source: pooled": "name: lion, input: false",
    "source: map": OUTPUT.replace("stages", "map").format("", ""),
    "source: image": OUTPUT.replace("stages", "image").format("", ""),
    "three maps": OUTPUT.format(", stages: [1, 2, 3]", ""),
    "width: 8": OUTPUT.format(", width: 8", ""),
    "width: 64": OUTPUT.format(", width: 64", ""),
    "rank: 8": OUTPUT.format(", rank: 8", ""),
    "readout: 1": OUTPUT.format(", readout: 1", ""),
    "readout: 6": OUTPUT.format(", readout: 6", ""),
    "kernel: 5": OUTPUT.format(", kernel: 5", ""),
    "grid: 12": OUTPUT.format(", grid: 12", ""),
    "lr_multiplier: 3": OUTPUT.format(", lr_multiplier: 3", ""),
    "robust, tau: 0.5": OUTPUT.format("", ", train: {robust: {tau: 0.5, shrinkage: 1.0}}"),
    "weight_decay: 1": OUTPUT.format("", ", train: {weight_decay: 1.0}"),
    "weight_decay: 3": OUTPUT.format("", ", train: {weight_decay: 3.0}"),
    "augment: flip": OUTPUT.format("", ", train: {augment: flip}"),
    "augment: crop_flip": OUTPUT.format("", ", train: {augment: crop_flip}"),
    "both prompts": OUTPUT.replace("input: false", "input: {{lr_multiplier: 0.1}}").format("", ""),
}
"""One change each from the reference."""

Accuracies = dict[str, list[float]]


def study_of(variant: str, root: str, seed: int, shots: int | None) -> Study:
    """The evidence study with this variant as its one method."""
    overrides = [f"methods=[{{{VARIANTS[variant]}}}]", f"seeds=[{seed}]", f"data.root={root}"]
    if shots:
        whole = config.load(STUDY).datasets
        datasets = [each.model_dump(mode="json", exclude_defaults=True, exclude={"num_train"}) for each in whole]
        overrides.append(f"datasets={json.dumps([{**each, 'shots': shots} for each in datasets])}")
    return config.load(STUDY, [*overrides, f"protocol={{name: fewshot, search: {{train.lr: {RATES}}}}}"])


@functools.cache
def _decoded(dataset: DatasetConfig, root: str, transform: backbones.Transform) -> Dataset:
    where = config.DataConfig(root=root)
    return data.find(dataset, where).decode(size=transform.size, interpolation=transform.interpolation)


def _accuracy(experiment: Experiment, root: str) -> tuple[float, int]:
    """Validation accuracy after the last epoch, in points, and what is trained beside the classifier."""
    backbone = backbones.load(experiment.backbone)
    whole = _decoded(experiment.dataset, root, backbone.transform)
    (dense,) = run_experiment(
        experiment,
        SearchData(classes=whole.classes, train=whole.train, val=whole.val),
        Store("memory://design"),
        backbone=backbone,
        workers=SingleWorker(),
        device=torch.device("cpu"),
        on_epoch=lambda *_: None,
    )
    return 100 * dense.val_accuracy, int(dense.metrics.num_params_without_classifier)


def measured(variant: str, root: str, shots: int | None) -> dict[str, Any]:
    """By dataset the best rate and the seeds' accuracies there."""
    began, found, size = time.perf_counter(), defaultdict[str, Accuracies](lambda: defaultdict(list)), 0
    for seed in SEEDS:
        for trial_of in (each for each in expand(study_of(variant, root, seed, shots)) if each.is_search):
            accuracy, size = _accuracy(trial_of, root)
            found[trial_of.dataset.name][f"{trial_of.train.lr:g}"].append(accuracy)
    best = {name: max(by.items(), key=lambda item: statistics.fmean(item[1])) for name, by in found.items()}
    return {
        "parameters": size,
        "mean": statistics.fmean(statistics.fmean(accuracies) for _, accuracies in best.values()),
        "rates": {name: rate for name, (rate, _) in best.items()},
        "accuracies": {name: accuracies for name, (_, accuracies) in best.items()},
        "seconds": time.perf_counter() - began,
    }


def line(name: str, found: dict[str, Any], reference: dict[str, Any]) -> str:
    """A row of the table: mean, by dataset, and the paired difference to the reference, its interval over datasets."""
    sets = " | ".join(f"{statistics.fmean(values):.1f}" for values in found["accuracies"].values())
    gaps = [
        Gap(
            dataset=dataset,
            differences=tuple(a - b for a, b in zip(values, reference["accuracies"][dataset], strict=True)),
            split_error=0.0,
        )
        for dataset, values in found["accuracies"].items()
    ]
    gap = over_sets_like(gaps) if found is not reference else None
    against = f"{gap.mean:+.2f} ({gap.low:+.2f} to {gap.high:+.2f})" if gap else ""
    return f"| {name} | {found['parameters']:,} | {found['mean']:.2f} | {sets} | {against} |"


def main() -> None:
    """Measure what is asked for, or all; print the table of all that `design.json` holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root")
    parser.add_argument("variants", nargs="*", default=list(VARIANTS))
    parser.add_argument("--shots", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    few = f"_{options.shots}_shots" if options.shots else ""
    result = Path(__file__).with_name(f"design{few}.json")
    kept: dict[str, Any] = json.loads(result.read_text()) if result.exists() else {}
    for name in options.variants:
        kept[name] = measured(name, options.root, options.shots)
        result.write_text(json.dumps(kept, indent=1) + "\n")
        print(f"{name}: {kept[name]['mean']:.2f} in {kept[name]['seconds']:.0f} s", flush=True)
    for name in (name for name in VARIANTS if name in kept):
        print(line(name, kept[name], kept[REFERENCE]))


if __name__ == "__main__":
    main()
