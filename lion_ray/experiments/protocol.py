"""Which splits a stage may open. Whoever trains is phase_data a value that holds these splits and no others.

A search trial gets `SearchData`, which has no test split; a final run gets `FinalData`, which has no validation split.
The driver puts each split into the object store by itself, and a trial's process is told of its stage's alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from lion_ray.data import Dataset, JoinedSplit, Split

MANY, FEW = 100, 20  # training images: above is a many-shot class, below a few-shot one (Liu et al., CVPR 2019)
GROUPS = ("many", "medium", "few")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """What a protocol's experiment is for. `joins_val`: it trains on train and val; `by_count`: see `count_groups`."""

    name: Literal["search", "final"]
    joins_val: bool = False
    by_count: bool = False

    def identity(self) -> dict[str, Any]:
        """As it enters the identity."""
        joined = {"train": "train+val"} if self.joins_val else {}
        return {"name": self.name, **joined, **({"test": "by count"} if self.by_count else {})}


SEARCH = Stage(name="search")


def final_stage(protocol: str) -> Stage:
    """Few shots and long tails are properties of train alone: val would undo them."""
    return Stage(name="final", joins_val=protocol in ("vtab1k", "fixed"), by_count=protocol == "longtail")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchData:
    """What a search trial is phase_data."""

    classes: tuple[str, ...]
    train: Split
    val: Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinalData:
    """What a final run is phase_data."""

    classes: tuple[str, ...]
    train: Split
    test: Split


PhaseData = Dataset | SearchData | FinalData  # the first without a protocol


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSplits:
    """What a training stage may see: it learns from `train`, its decisions read `val`; a final run makes none."""

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
    """The stage's data, from exactly the splits that it opens."""
    assert set(splits) == set(splits_of(stage))
    if stage is None:
        return Dataset(name=name, classes=classes, **splits)
    if stage.name == "search":
        return SearchData(classes=classes, **splits)
    train = JoinedSplit.of(splits["train"], splits["val"]) if stage.joins_val else splits["train"]
    return FinalData(classes=classes, train=train, test=splits["test"])


def training_splits(data: PhaseData) -> TrainingSplits:
    """What is learnt from, and what decisions read."""
    return TrainingSplits(train=data.train, val=None if isinstance(data, FinalData) else data.val)


def final_split(data: PhaseData) -> Split | None:
    """The split that is read once, after a round is trained, for its figure in the report; a search trial has none."""
    return None if isinstance(data, SearchData) else data.test


def count_groups(train: Split, num_classes: int) -> dict[str, np.ndarray]:
    """The classes of each group by how many training images they have: more than 100, 20 to 100, fewer than 20."""
    counts = np.bincount(train.labels, minlength=num_classes)
    chosen = (counts > MANY, (counts >= FEW) & (counts <= MANY), counts < FEW)
    return {name: np.flatnonzero(is_in) for name, is_in in zip(GROUPS, chosen, strict=True)}
