"""What one trial's process is given: its experiment, and the splits that the experiment's stage opens, no others.

`sweep` makes it and leaves it in the mailbox, `trainable` and the workers of `train_workers` open it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import ray

from lion_ray.data import Dataset
from lion_ray.experiments import Experiment
from lion_ray.experiments.protocol import PhaseData, phase_data, splits_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedDataset:
    """A decoded dataset in Ray's object store: each split is an object by itself."""

    name: str
    classes: tuple[str, ...]
    splits: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialInputs:
    """An experiment and its data, still in the object store."""

    experiment: Experiment
    data: SharedDataset

    def open(self) -> PhaseData:
        """The data as this experiment's stage may see it; arrays are read-only and shared by all of a node."""
        splits = {name: ray.get(split) for name, split in self.data.splits.items()}
        return phase_data(self.experiment.stage, self.data.name, self.data.classes, splits)


def shared(dataset: Dataset) -> SharedDataset:
    """Put a dataset's splits into the object store."""
    splits = {name: ray.put(getattr(dataset, name)) for name in ("train", "val", "test")}
    return SharedDataset(name=dataset.name, classes=dataset.classes, splits=splits)


def work_on(experiment: Experiment, data: SharedDataset) -> TrialInputs:
    """What the experiment's process may have of `data`."""
    opened = {name: data.splits[name] for name in splits_of(experiment.stage)}
    return TrialInputs(experiment=experiment, data=dataclasses.replace(data, splits=opened))
