"""The splits that each stage of a protocol may open.

A trainer receives a value that holds exactly these splits. `SearchData` of a search trial has no test split, and
`FinalData` of a final run has no validation split. The driver puts each split into Ray's object store separately, and
a trial's process receives references to the splits of its own stage only (`lion_ray.sweep.shared_dataset`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np

from lion_ray.data import Dataset, JoinedSplit, Split

MANY, FEW = 100, 20  # training images: above is a many-shot class, below a few-shot one (Liu et al., CVPR 2019)
GROUPS = ("many", "medium", "few")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """The stage of a protocol that an experiment belongs to.

    With `joins_val` it trains on train and val together. With `by_count` it is also tested on the classes of each of
    the `count_groups`.
    """

    name: Literal["search", "final"]
    joins_val: bool = False
    by_count: bool = False

    def identity(self) -> dict[str, str]:
        """The part of an experiment's identity that describes the stage."""
        joined = {"train": "train+val"} if self.joins_val else {}
        return {"name": self.name, **joined, **({"test": "by count"} if self.by_count else {})}


SEARCH = Stage(name="search")


def final_stage(protocol: str) -> Stage:
    """The final stage of a protocol.

    `vtab1k` and `fixed` train on train and val together. `fewshot` and `longtail` do not, because the val images would
    change the number of images per class.
    """
    return Stage(name="final", joins_val=protocol in ("vtab1k", "fixed"), by_count=protocol == "longtail")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchData:
    """The splits of a search trial; `classes` are the names of the classes."""

    classes: tuple[str, ...]
    train: Split
    val: Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinalData:
    """The splits of a final run; `classes` are the names of the classes."""

    classes: tuple[str, ...]
    train: Split
    test: Split


PhaseData = Dataset | SearchData | FinalData  # `Dataset` without a protocol


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSplits:
    """The splits that training may see: weights learn from `train`, decisions read `val`; a final run has no val."""

    train: Split
    val: Split | None


def splits_of(stage: Stage | None) -> tuple[str, ...]:
    """The names of the splits that a stage opens."""
    if stage is None:
        return ("train", "val", "test")
    if stage.name == "search":
        return ("train", "val")
    return ("train", "val", "test") if stage.joins_val else ("train", "test")


def phase_data(stage: Stage | None, name: str, classes: tuple[str, ...], splits: Mapping[str, Split]) -> PhaseData:
    """The data of a stage.

    Args:
        stage: the stage; None without a protocol.
        name: the name of the dataset.
        classes: the names of the classes.
        splits: exactly the splits that the stage opens (`splits_of`), by name.
    """
    assert set(splits) == set(splits_of(stage))
    if stage is None:
        return Dataset(name=name, classes=classes, **splits)
    if stage.name == "search":
        return SearchData(classes=classes, **splits)
    train = JoinedSplit.of(splits["train"], splits["val"]) if stage.joins_val else splits["train"]
    return FinalData(classes=classes, train=train, test=splits["test"])


def training_splits(data: PhaseData) -> TrainingSplits:
    """The training split and, except in a final run, the validation split."""
    return TrainingSplits(train=data.train, val=None if isinstance(data, FinalData) else data.val)


def final_split(data: PhaseData) -> Split | None:
    """The test split, which is read once after each round is trained; None for a search trial."""
    return None if isinstance(data, SearchData) else data.test


def count_groups(train: Split, num_classes: int) -> dict[str, np.ndarray]:
    """The class indices (int64) with many, medium and few training images: above 100, 20 to 100, below 20.

    The groups are those of Liu et al., CVPR 2019.
    """
    counts = np.bincount(train.labels, minlength=num_classes)
    chosen = (counts > MANY, (counts >= FEW) & (counts <= MANY), counts < FEW)
    return {name: np.flatnonzero(is_in) for name, is_in in zip(GROUPS, chosen, strict=True)}
