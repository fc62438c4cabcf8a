"""One experiment as a value: what it is called, what it means, what it trains. Its hash is a promise.

The hash holds what changes the result and nothing else: no path, no time, no worker count, no value that equals its
first default (`identity`), and the revisions of the code that trains it (`revisions`). `rounds`, `tolerance`,
`patience` and `controls` stay out, so a study that asks for more rounds goes on where it ended.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from lion_ray.config import BackboneConfig, Control, DatasetConfig, LotteryConfig, MethodConfig, TrainConfig
from lion_ray.experiments.identity import identity_digest
from lion_ray.experiments.labels import dataset_label, entry_label, text_of
from lion_ray.experiments.protocol import Stage
from lion_ray.experiments.revisions import revisions_of
from lion_ray.methods import METHODS, options_of
from lion_ray.store import layout, redacted

NOT_IN_IDENTITY = {"rounds", "tolerance", "patience", "controls"}  # how long it goes on and what is trained beside it
Setting = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonGroup:
    """Experiments that a scheduler compares with each other; without a protocol all of one dataset.

    `content` tells datasets apart that only their places do.
    """

    dataset: DatasetConfig
    content: str = ""
    entry: str = ""
    stage: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """One trial of a study. `digest` is the SHA-256 of `identity`; `name` ends with its first 8 digits.

    With a protocol it has a `stage`, and a search trial the `setting` that it tries, which its other fields contain.
    `told_as` is its dataset's label among the study's (empty: the dataset's own); `content` is the beginning of its
    data's digest where another set of the study is asked for in the same words, else empty.
    """

    name: str
    digest: str
    identity: Mapping[str, Any]
    dataset: DatasetConfig
    backbone: BackboneConfig
    method: MethodConfig
    seed: int
    train: TrainConfig
    lottery: LotteryConfig
    stage: Stage | None = None
    setting: Setting = dataclasses.field(default_factory=dict)
    told_as: str = ""
    content: str = ""

    @property
    def num_rounds(self) -> int:
        """Rounds at most: a method with nothing to prune trains once."""
        return self.lottery.rounds if METHODS[self.method.name].is_prunable else 1

    @property
    def controls(self) -> tuple[Control, ...]:
        """What is trained beside each pruned round; nothing is chosen by it, so a search has none."""
        return self.lottery.controls if self.num_rounds > 1 and not self.is_search else ()

    @property
    def label(self) -> str:
        """For people: `mnist/lion seed 0`, or of a search trial `mnist/lion search train.lr=0.01`."""
        which = f"search {text_of(self.setting, sort=False)}" if self.is_search else f"seed {self.seed}"
        return f"{self.dataset_label}/{entry_label(self.method)} {which}"

    @property
    def dataset_label(self) -> str:
        """What people call its dataset, unique in its study."""
        return self.told_as or dataset_label(self.dataset)

    @property
    def is_search(self) -> bool:
        """Whether it only helps to choose a setting."""
        return self.stage is not None and self.stage.name == "search"

    @cached_property
    def entry(self) -> tuple[DatasetConfig, str]:
        """Dataset and method entry: what one setting is chosen for."""
        return self.dataset, entry_label(self.method)

    @cached_property
    def peers(self) -> ComparisonGroup:
        """With whom a scheduler compares it: its dataset's experiments, or its search's; final runs with none."""
        if self.stage is None:
            return ComparisonGroup(dataset=self.dataset, content=self.content)
        return ComparisonGroup(dataset=self.dataset, content=self.content, entry=self.entry[1], stage=self.stage.name)

    def seed_for(self, purpose: str) -> int:
        """A seed (63 bits) for one purpose, such as `start` or `order/3`, from the experiment's identity alone."""
        return int(hashlib.sha256(f"{self.digest}/{purpose}".encode()).hexdigest()[:16], 16) >> 1

    def key(self, stage: str) -> str:
        """Where a stage of this experiment lies in the study's store."""
        return f"{layout.experiment(self.name)}/{stage}"

    def config(self) -> dict[str, Any]:
        """The configuration, defaults included, as JSON holds it: all but how long the lottery goes on, and secrets."""
        told: dict[str, Any] = {
            **config_of(self.method, self.train, self.lottery, self.backbone),
            "dataset": self.dataset.model_dump(mode="json"),
            "seed": self.seed,
        }
        for section, key in (("dataset", "url"), ("backbone", "weights")):
            if told[section][key]:
                told[section][key] = redacted(told[section][key])
        if self.stage is not None:
            told["stage"] = self.stage.identity()
        return told


def final_run(chosen: Experiment, stage: Stage, *, seed: int, rounds: int) -> Experiment:
    """A search trial's setting as it is trained for the tables: so many rounds, which nothing stops early."""
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


def config_of(
    method: MethodConfig, train: TrainConfig, lottery: LotteryConfig, backbone: BackboneConfig
) -> dict[str, Any]:
    """How something is trained, on whatever data, as JSON: defaults included, and the revisions that apply."""
    told: dict[str, Any] = {
        "backbone": backbone.model_dump(mode="json"),
        "method": {"name": method.name, **options_of(method).model_dump(mode="json")},
        "train": train.model_dump(mode="json"),
        "lottery": lottery.model_dump(mode="json", exclude=NOT_IN_IDENTITY),
    }
    revision = revisions_of(told)
    return {**told, "revision": revision} if revision else told


def experiment_name(
    dataset: DatasetConfig, backbone: BackboneConfig, method: MethodConfig, which: str, digest: str
) -> str:
    """Readable, with the first 8 digits of the digest."""
    return f"{dataset.name}-{backbone.name}-{method.name}-{which}-{digest[:8]}"
