"""One experiment as a value: its name, its identity, and the sections by which it is trained.

The digest of the identity covers exactly what changes the result: no path, no time, no number of workers, no value
that equals its first default (`lion_ray.experiments.identity`), and the revisions of the training code
(`lion_ray.experiments.revisions`). `rounds`, `tolerance`, `patience` and `controls` are not part of it, so a study that
asks for more rounds continues with the stored ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import cached_property

from lion_ray.config import BackboneConfig, Control, DatasetConfig, Json, LotteryConfig, MethodConfig, TrainConfig
from lion_ray.experiments.identity import identity_digest
from lion_ray.experiments.labels import dataset_label, entry_label, text_of
from lion_ray.experiments.protocol import Stage
from lion_ray.experiments.revisions import Config, revisions_of
from lion_ray.methods import METHODS, options_of
from lion_ray.store import layout, redacted

NOT_IN_IDENTITY = {
    "rounds",
    "tolerance",
    "patience",
    "controls",
}  # they decide how many rounds and controls are trained
Setting = Mapping[str, object]
"""A setting of a search: the value by each key of a method entry, such as `train.lr`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonGroup:
    """The key of the experiments that a scheduler compares with each other; without a protocol all of one dataset.

    `content` distinguishes datasets that differ in their URLs only. `entry` and `stage` are empty without a protocol.
    """

    dataset: DatasetConfig
    content: str = ""
    entry: str = ""
    stage: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment of a study. `digest` is the SHA-256 of `identity`; `name` ends with its first 8 digits.

    With a protocol it has a `stage`. A search trial also has the `setting` that it tries; the other fields contain its
    values already. `label_in_study` is the label of the dataset among those of the study (empty: the dataset's own
    label). `content` holds the first digits of the dataset's digest if only the URL distinguishes it from another
    dataset of the study, otherwise it is empty.
    """

    name: str
    digest: str
    identity: Json
    dataset: DatasetConfig
    backbone: BackboneConfig
    method: MethodConfig
    seed: int
    train: TrainConfig
    lottery: LotteryConfig
    stage: Stage | None = None
    setting: Setting = dataclasses.field(default_factory=dict)
    label_in_study: str = ""
    content: str = ""

    @property
    def num_rounds(self) -> int:
        """The largest number of rounds. A method without prunable weights trains one round."""
        return self.lottery.rounds if METHODS[self.method.name].is_prunable else 1

    @property
    def controls(self) -> tuple[Control, ...]:
        """The controls beside each pruned round. A search has none, because no choice depends on them."""
        return self.lottery.controls if self.num_rounds > 1 and not self.is_search else ()

    @property
    def label(self) -> str:
        """The label in messages: `mnist/lion seed 0`, or for a search trial `mnist/lion search train.lr=0.01`."""
        which = f"search {text_of(self.setting, sort=False)}" if self.is_search else f"seed {self.seed}"
        return f"{self.dataset_label}/{entry_label(self.method)} {which}"

    @property
    def dataset_label(self) -> str:
        """The label of its dataset, unique in the study."""
        return self.label_in_study or dataset_label(self.dataset)

    @property
    def is_search(self) -> bool:
        """Whether it is a trial of a search."""
        return self.stage is not None and self.stage.name == "search"

    @cached_property
    def entry(self) -> tuple[DatasetConfig, str]:
        """Dataset and method entry. A search chooses one setting for each such pair."""
        return self.dataset, entry_label(self.method)

    @cached_property
    def peers(self) -> ComparisonGroup:
        """The group in which a scheduler compares it: the experiments of its dataset, or the trials of its search."""
        if self.stage is None:
            return ComparisonGroup(dataset=self.dataset, content=self.content)
        return ComparisonGroup(dataset=self.dataset, content=self.content, entry=self.entry[1], stage=self.stage.name)

    def seed_for(self, purpose: str) -> int:
        """The seed (63 bits) for one purpose, such as `start` or `order/3`. It depends on the identity only."""
        return int(hashlib.sha256(f"{self.digest}/{purpose}".encode()).hexdigest()[:16], 16) >> 1

    def key(self, stage: str) -> str:
        """The key in the study's store of one artifact of this experiment, such as `start`."""
        return f"{layout.experiment(self.name)}/{stage}"

    def config(self) -> Config:
        """The whole configuration as JSON, defaults included, without `NOT_IN_IDENTITY` and without credentials."""
        config = {
            **config_of(self.method, self.train, self.lottery, self.backbone),
            "dataset": self.dataset.model_dump(mode="json"),
            "seed": self.seed,
        }
        for section, key in (("dataset", "url"), ("backbone", "weights")):
            if config[section][key]:
                config[section][key] = redacted(config[section][key])
        if self.stage is not None:
            config["stage"] = self.stage.identity()
        return config


def final_run(chosen: Experiment, stage: Stage, *, seed: int, rounds: int) -> Experiment:
    """The final run of a chosen setting. No scheduler stops it.

    Args:
        chosen: the search trial whose setting was chosen.
        stage: the final stage of the protocol.
        seed: the seed of the run.
        rounds: the number of rounds that it trains.
    """
    identity = {**chosen.identity, "seed": seed, "stage": stage.identity()}
    digest = identity_digest(identity)
    return dataclasses.replace(
        chosen,
        name=experiment_name(chosen.dataset, chosen.backbone, chosen.method, f"s{seed}", digest),
        digest=digest,
        identity=identity,
        seed=seed,
        lottery=chosen.lottery.model_copy(update={"rounds": rounds, "tolerance": None, "patience": 1}),
        stage=stage,
        setting={},
    )


def config_of(method: MethodConfig, train: TrainConfig, lottery: LotteryConfig, backbone: BackboneConfig) -> Config:
    """The part of a configuration that does not depend on dataset and seed, with the revisions that apply.

    Args:
        method: the method entry.
        train: its `train` section.
        lottery: its `lottery` section.
        backbone: the backbone of the study.

    Returns:
        JSON, defaults included.
    """
    config = {
        "backbone": backbone.model_dump(mode="json"),
        "method": {"name": method.name, **options_of(method).model_dump(mode="json")},
        "train": train.model_dump(mode="json"),
        "lottery": lottery.model_dump(mode="json", exclude=NOT_IN_IDENTITY),
    }
    revision = revisions_of(config)
    return {**config, "revision": revision} if revision else config


def experiment_name(
    dataset: DatasetConfig, backbone: BackboneConfig, method: MethodConfig, which: str, digest: str
) -> str:
    """The readable name of an experiment.

    Args:
        dataset: its dataset.
        backbone: its backbone.
        method: its method entry.
        which: `search` for a search trial, otherwise `s<seed>`.
        digest: the digest of its identity; the name ends with the first 8 digits.
    """
    return f"{dataset.name}-{backbone.name}-{method.name}-{which}-{digest[:8]}"
