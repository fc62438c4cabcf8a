"""From a study to its experiments: dataset x backbone x method x seed, each with a readable name and a pinned hash.

The hash holds what changes the result and nothing else: no path, no time, no worker count, and no value that equals its
default, so a new option with a default keeps every old name. `rounds`, `tolerance`, `patience` and `controls` stay out,
so a study that asks for more rounds goes on where it ended.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lion_ray import backbones, data
from lion_ray.config import (
    BackboneConfig,
    Control,
    DataConfig,
    DatasetConfig,
    LotteryConfig,
    MethodConfig,
    Study,
    StudyError,
    TrainConfig,
    sections_of,
)
from lion_ray.methods import METHODS, options_of
from lion_ray.store import redacted

WHERE_AND_HOW = {"name", "url", "format", "image_column", "label_column"}  # a dataset is read, not what is asked of it
NOT_MEANING = {"rounds", "tolerance", "patience", "controls"}  # how long it goes on and what is trained beside it


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
    def controls(self) -> tuple[Control, ...]:
        """What is trained beside each pruned round."""
        return self.lottery.controls if self.num_rounds > 1 else ()

    @property
    def label(self) -> str:
        """For people: `mnist/lion seed 0`."""
        return f"{dataset_label(self.dataset)}/{entry_label(self.method)} seed {self.seed}"

    def seed_for(self, purpose: str) -> int:
        """A seed (63 bits) for one purpose, such as `start` or `order/3`, from the experiment's identity alone."""
        return int(hashlib.sha256(f"{self.digest}/{purpose}".encode()).hexdigest()[:16], 16) >> 1

    def key(self, stage: str) -> str:
        """Where a stage of this experiment lies in the study's store."""
        return f"experiments/{self.name}/{stage}"

    def config(self) -> dict[str, Any]:
        """The configuration, defaults included, as JSON holds it: all but how long the lottery goes on, and secrets."""
        sections = {"dataset": self.dataset, "backbone": self.backbone, "train": self.train}
        told: dict[str, Any] = {
            **{name: section.model_dump(mode="json") for name, section in sections.items()},
            "lottery": self.lottery.model_dump(mode="json", exclude=NOT_MEANING),
            "method": {"name": self.method.name, **options_of(self.method).model_dump(mode="json")},
            "seed": self.seed,
        }
        for section, key in (("dataset", "url"), ("backbone", "weights")):
            if told[section][key]:
                told[section][key] = redacted(told[section][key])
        return told


def expand(study: Study, backbone: backbones.Resolved | None = None, *, source: str = "study") -> list[Experiment]:
    """All experiments of a study, in the order in which they start: seed by seed, method by method.

    Args:
        backbone: what the study's section stands for; None asks its origin.

    Raises:
        StudyError: an unknown dataset, method or backbone, a wrong option, or the same experiment twice.
    """
    known = backbone or backbones.load(study.backbone, source=source)
    sections = [_sections(study, index, source) for index in range(len(study.methods))]
    identities = {config: _identity(config, study.data, source) for config in study.datasets}
    entries = list(zip(study.methods, sections, strict=True))
    runs = [
        (method, train, lottery, dataset, _meaning(method, train, lottery, identities[dataset], known))
        for (method, (train, lottery)), dataset in itertools.product(entries, study.datasets)
    ]
    experiments = []
    for seed, (method, train, lottery, dataset, shared) in itertools.product(study.seeds, runs):
        meaning = {**shared, "seed": seed}
        digest = meaning_digest(meaning)
        experiment = Experiment(
            name=f"{dataset.name}-{study.backbone.name}-{method.name}-s{seed}-{digest[:8]}",
            digest=digest,
            meaning=meaning,
            dataset=dataset,
            backbone=study.backbone,
            method=method,
            seed=seed,
            train=train,
            lottery=lottery,
        )
        experiments.append(experiment)
    names = [experiment.name for experiment in experiments]
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice:
        raise StudyError(source, "datasets, methods, seeds", f"the same experiment stands there twice: {twice}")
    most_rounds, num_competitors = max(each.num_rounds for each in experiments), len(names) // len(study.datasets)
    if idle := study.scheduler.reason_it_never_stops(most_rounds, num_competitors):
        raise StudyError(source, "scheduler", f"{idle}; use scheduler: none")
    return experiments


def dataset_label(dataset: DatasetConfig) -> str:
    """A dataset and what was asked of it: `mnist`, `mnist(num_train=20)` or `mnist(shots=5, seed=1)`."""
    asked = dataset.model_dump(mode="json", exclude_defaults=True, exclude=WHERE_AND_HOW)
    return f"{dataset.name}({_text(asked, sort=False)})" if asked else dataset.name


def method_label(method: MethodConfig) -> str:
    """A method and the options that differ from their defaults: `lion` or `lion(output=false)`."""
    options = options_of(method).model_dump(mode="json", exclude_defaults=True)
    return f"{method.name}({_text(options)})" if options else method.name


def entry_label(method: MethodConfig) -> str:
    """What tables call a method entry: its `label`, or the method with all that the entry says."""
    if method.label:
        return method.label
    replaced = {name: section for name, section in (("train", method.train), ("lottery", method.lottery)) if section}
    return method_label(method) + (_text(replaced) and f"[{_text(replaced)}]")


def _text(options: Mapping[str, Any], *, sort: bool = True) -> str:
    """`{"a": 1}` as `a=1`."""
    text = json.dumps(options, sort_keys=sort).replace('"', "").replace(": ", "=")
    return text[1:-1]


def meaning_digest(meaning: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of `meaning`."""
    return hashlib.sha256(json.dumps(meaning, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _identity(config: DatasetConfig, where: DataConfig, source: str) -> Mapping[str, Any]:
    found = data.find(config, where, source=source)
    if len(found.classes) < 2:
        raise StudyError(source, f"datasets.{config.name}", "has one class only: there is nothing to tell apart")
    return found.identity()


def _sections(study: Study, index: int, source: str) -> tuple[TrainConfig, LotteryConfig]:
    """How entry `index` of the methods is trained and pruned, checked against what the method can do."""
    method, key = study.methods[index], f"methods.{index}"
    options_of(method, source=source, key=key)
    train, lottery = sections_of(study, index, source=source)
    if method.label and method.label in [entry_label(other) for other in study.methods[:index]]:
        raise StudyError(source, f"{key}.label", f"'{method.label}' names two entries")
    if not METHODS[method.name].is_prunable:
        if train.robust:
            reason = f"robust training ranks prunable weights, '{method.name}' has none; set it in other entries only"
            raise StudyError(source, f"{key}.train.robust", reason)
        if method.lottery:
            raise StudyError(source, f"{key}.lottery", f"'{method.name}' has nothing to prune: it trains once")
    return train, lottery


def _meaning(
    method: MethodConfig,
    train: TrainConfig,
    lottery: LotteryConfig,
    dataset: Mapping[str, Any],
    backbone: backbones.Resolved | backbones.Backbone,
) -> dict[str, Any]:
    """All of it but the seed."""
    options = options_of(method).model_dump(mode="json", exclude_defaults=True)
    meaning = {
        "dataset": dict(dataset),
        "transform": dataclasses.asdict(backbone.transform),
        "backbone": {"name": backbone.name, "weights": backbone.weights_digest},
        "method": {"name": method.name, **options},
        "train": train.model_dump(mode="json", exclude_defaults=True),
    }
    if METHODS[method.name].is_prunable:
        meaning["lottery"] = lottery.model_dump(mode="json", exclude_defaults=True, exclude=NOT_MEANING)
    return meaning
