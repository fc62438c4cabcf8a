"""What a study would cost, from its file alone: experiments, trainings, hours on a device that sustains 100 TFLOP/s.

    python -m tests.benchmarks.study_cost pipelines/vtab.yaml

Nothing is run and no data is needed: counts are the catalogue's. An image costs the backbone's forward pass (published
multiply-adds, twice), a training image three of them, one of `linear` a single one in all. Decoding, small batches and
idle devices are left out: read it as a lower bound of the order.
"""

from __future__ import annotations

import dataclasses
import sys

from lion_ray import config
from lion_ray.config import DatasetConfig, Study
from lion_ray.data.catalogue import CATALOGUE
from lion_ray.experiments.settings import sections, settings_of
from lion_ray.methods import METHODS

GFLOP = {"vit_base_patch16_224": 35.1, "resnet50": 8.2, "resnet101": 15.6, "swin_base_patch4_window7_224": 30.8}
GFLOP |= {"tf_efficientnet_lite0": 0.15}  # at 96 pixels
TFLOPS, PASSES, DEFAULT_VAL, DEFAULT_TEST = 100.0, 3, 200, 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """`hours` of device time."""

    experiments: int
    trainings: int
    hours: float


def cost(study: Study) -> Cost:
    """Of all its experiments, none stopped early."""
    experiments, trainings, images = 0, 0, 0.0
    for index, method in enumerate(study.methods):
        train, lottery = sections(study, index, "study")
        rounds = lottery.rounds if METHODS[method.name].is_prunable else 1
        rounds += (rounds - 1) * len(lottery.controls)
        searches = len(settings_of(study, index)) if study.protocol and study.protocol.searches else 0
        for dataset in study.datasets:
            sizes = counts(dataset)
            joined = sizes["val"] if study.protocol and study.protocol.name in ("vtab1k", "fixed") else 0
            epochs, passes = (1, 1) if method.name == "linear" and train.augment == "none" else (train.epochs, PASSES)
            search = epochs * (passes * sizes["train"] + sizes["val"])
            final = epochs * passes * (sizes["train"] + joined) + sizes["test"]
            experiments += searches + len(study.seeds)
            trainings += rounds * (searches + len(study.seeds))
            images += rounds * (searches * search + len(study.seeds) * final)
    gflop = GFLOP[study.backbone.name.partition(".")[0]]
    return Cost(experiments=experiments, trainings=trainings, hours=images * gflop / (1000 * TFLOPS * 3600))


def counts(dataset: DatasetConfig) -> dict[str, int]:
    """Images per split, as far as catalogue and entry say."""
    entry = CATALOGUE[dataset.name]
    sizes = dict(entry.sizes)
    sizes.setdefault("train", sizes.get("pool", 0))
    val = dataset.num_val or sizes.get("val") or (int(dataset.val * sizes["train"]) if dataset.val else DEFAULT_VAL)
    own = sizes["train"] - (0 if "val" in sizes else val)
    if dataset.shots:
        own = min(own, dataset.shots * entry.num_classes)
    if dataset.imbalance:
        most, last = own / entry.num_classes, entry.num_classes - 1
        own = sum(int(most * dataset.imbalance.ratio ** (-place / last)) for place in range(entry.num_classes))
    return {"train": dataset.num_train or own, "val": val, "test": dataset.num_test or sizes.get("test", DEFAULT_TEST)}


def text(of: Cost) -> str:
    """As it stands in the header of a study file."""
    return f"{of.experiments:,} experiments, {of.trainings:,} trainings; some {of.hours:,.0f} hours"


if __name__ == "__main__":
    for path in sys.argv[1:]:
        print(f"{path}: {text(cost(config.load(path)))}")
