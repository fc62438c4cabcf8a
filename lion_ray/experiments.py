"""From a study to its experiments: dataset x backbone x method x seed, each with a readable name and a pinned hash.

The hash holds what changes the result and nothing else: no path, no time, no worker count, and no value that equals its
default, so a new option with a default keeps every old name. `rounds`, `tolerance` and `patience` stay out, so a study
that asks for more rounds goes on where it ended.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping
from typing import Any

from lion_ray import backbones, data
from lion_ray.config import (
    BackboneConfig,
    DatasetConfig,
    LotteryConfig,
    MethodConfig,
    Study,
    StudyError,
    TrainConfig,
)
from lion_ray.methods import METHODS, options_of

NOT_MEANING = {"rounds", "tolerance", "patience"}  # how long the lottery goes on, not what a round is


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One trial of a study. `digest` is the SHA-256 of `meaning`; `name` ends with its first 8 digits."""

    name: str
    digest: str
    meaning: Mapping[str, Any]
    dataset: DatasetConfig
    backbone: BackboneConfig
    method: MethodConfig
    seed: int
    train: TrainConfig
    lottery: LotteryConfig

    @property
    def num_rounds(self) -> int:
        """Rounds at most: a method with nothing to prune trains once."""
        return self.lottery.rounds if METHODS[self.method.name].is_prunable else 1

    @property
    def label(self) -> str:
        """For people: `mnist/lion seed 0`."""
        return f"{dataset_label(self.dataset)}/{method_label(self.method)} seed {self.seed}"

    def seed_for(self, purpose: str) -> int:
        """A seed (63 bits) for one purpose, such as `start` or `order/3`, from the experiment's identity alone."""
        return int(hashlib.sha256(f"{self.digest}/{purpose}".encode()).hexdigest()[:16], 16) >> 1

    def key(self, stage: str) -> str:
        """Where a stage of this experiment lies in the study's store."""
        return f"experiments/{self.name}/{stage}"

    def config(self) -> dict[str, Any]:
        """The configuration, defaults included, as JSON holds it: all but how long the lottery goes on."""
        sections = {"dataset": self.dataset, "backbone": self.backbone, "train": self.train}
        return {
            **{name: section.model_dump(mode="json") for name, section in sections.items()},
            "lottery": self.lottery.model_dump(mode="json", exclude=NOT_MEANING),
            "method": {"name": self.method.name, **options_of(self.method).model_dump(mode="json")},
            "seed": self.seed,
        }


def expand(study: Study, *, source: str = "study") -> list[Experiment]:
    """All experiments of a study, in the order in which they start: seed by seed, method by method.

    Raises:
        StudyError: an unknown dataset, method or backbone, a wrong option, or the same experiment twice.
    """
    backbone = backbones.load(study.backbone, source=source)
    for index, method in enumerate(study.methods):
        options_of(method, source=source, key=f"methods.{index}")
    identities = {config: _identity(config, source) for config in study.datasets}
    experiments = []
    for seed, method, dataset in itertools.product(study.seeds, study.methods, study.datasets):
        meaning = _meaning(study, method, identities[dataset], backbone, seed)
        experiments.append(_experiment(study, dataset, method, seed, meaning))
    names = [experiment.name for experiment in experiments]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise StudyError(source, "datasets, methods, seeds", f"the same experiment stands there twice: {twice}")
    return experiments


def dataset_label(dataset: DatasetConfig) -> str:
    """A dataset and the counts that were asked for: `mnist` or `mnist(num_train=20)`."""
    counts = dataset.model_dump(exclude_defaults=True, exclude={"name", "url", "format"})
    text = ", ".join(f"{key}={value}" for key, value in counts.items())
    return f"{dataset.name}({text})" if text else dataset.name


def method_label(method: MethodConfig) -> str:
    """A method and the options that differ from their defaults: `lion` or `lion(output=false)`."""
    options = options_of(method).model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(options, sort_keys=True).strip("{}").replace('"', "").replace(": ", "=")
    return f"{method.name}({text})" if options else method.name


def meaning_digest(meaning: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `meaning`."""
    return hashlib.sha256(json.dumps(meaning, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _identity(config: DatasetConfig, source: str) -> Mapping[str, Any]:
    found = data.find(config, source=source)
    if len(found.classes) < 2:
        raise StudyError(source, f"datasets.{config.name}", "has one class only: there is nothing to tell apart")
    return found.identity()


def _meaning(
    study: Study, method: MethodConfig, dataset: Mapping[str, Any], backbone: backbones.Backbone, seed: int
) -> dict[str, Any]:
    options = options_of(method).model_dump(mode="json", exclude_defaults=True)
    meaning = {
        "dataset": dict(dataset),
        "transform": dataclasses.asdict(backbone.transform),
        "backbone": {"name": backbone.name, "weights": backbone.weights_digest},
        "method": {"name": method.name, **options},
        "train": study.train.model_dump(mode="json", exclude_defaults=True),
        "seed": seed,
    }
    if METHODS[method.name].is_prunable:
        meaning["lottery"] = study.lottery.model_dump(mode="json", exclude_defaults=True, exclude=NOT_MEANING)
    return meaning


def _experiment(
    study: Study, dataset: DatasetConfig, method: MethodConfig, seed: int, meaning: Mapping[str, Any]
) -> Experiment:
    digest = meaning_digest(meaning)
    return Experiment(
        name=f"{dataset.name}-{study.backbone.name}-{method.name}-s{seed}-{digest[:8]}",
        digest=digest,
        meaning=meaning,
        dataset=dataset,
        backbone=study.backbone,
        method=method,
        seed=seed,
        train=study.train,
        lottery=study.lottery,
    )
