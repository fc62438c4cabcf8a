"""Which splits a stage may open. Training and every decision receive a type that does not contain the test split."""

from __future__ import annotations

import dataclasses

from lion_ray.data import Dataset, Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSplits:
    """What a training stage may see: it learns from `train`, its decisions read `val`."""

    train: Split
    val: Split


def training_splits(dataset: Dataset) -> TrainingSplits:
    """Protocol `fixed`: one setting, trained on `train`; stopping and comparison on `val`."""
    return TrainingSplits(train=dataset.train, val=dataset.val)


def final_split(dataset: Dataset) -> Split:
    """The split that is read once, after a round is trained, for its figure in the report."""
    return dataset.test
