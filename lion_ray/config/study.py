"""The study file as values: typed, frozen, strict. Each class is one section.

Names that live in a registry (datasets, methods, backbones) are plain strings here; `experiments` checks them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from lion_ray.config.base import Frozen, Place
from lion_ray.config.data import DataConfig, ImbalanceConfig, LabelNoiseConfig
from lion_ray.config.lottery import Control, Prune, Rewind, RobustConfig, fixed_rounds, rounds_of
from lion_ray.config.protocol import SEEDS, ProtocolConfig, Space
from lion_ray.config.resources import ResourcesConfig
from lion_ray.config.scheduler import SchedulerConfig

MODIFIERS = ("shots", "imbalance", "subset", "label_noise")
EITHER = (
    ("val", "num_val", "each says how large val is"),
    ("shots", "imbalance", "each says how many images a class keeps"),
    ("shots", "subset", "shots fixes how many images there are"),
    ("shots", "num_train", "shots fixes how many images there are"),
    ("subset", "num_train", "each says how many images train keeps"),
)
LARGEST_IMAGE = 2048  # pixels of a side, in a study and in a ticket
SLUG = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class BackboneConfig(Frozen):
    """The frozen timm model; `weights` is `package`, `hub`, `random`, or the path or URL of a state dict."""

    name: str
    weights: Place = "hub"
    image_size: Annotated[int, Field(ge=16, le=LARGEST_IMAGE)] | None = None
    crop: Literal["none", "center"] = "none"


class DatasetConfig(Frozen):
    """A catalogue name, or a name of your own with the URL of your data (`data.readers`).

    `num_...` take the first of an order that is the name's; `val` cuts its share from train where the source has no
    val. `shots` (per class), `imbalance`, `subset` and `label_noise` change train alone, drawn by `seed`: see
    `data.sampling`.
    """

    name: str = Field(pattern=SLUG)
    url: Place | None = None
    format: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    num_train: Annotated[int, Field(ge=1)] | None = None
    num_val: Annotated[int, Field(ge=1)] | None = None
    num_test: Annotated[int, Field(ge=1)] | None = None
    val: Annotated[float, Field(gt=0, lt=1)] | None = None
    shots: Annotated[int, Field(ge=1)] | None = None
    imbalance: ImbalanceConfig | None = None
    subset: Annotated[int, Field(ge=1)] | None = None
    label_noise: LabelNoiseConfig | None = None
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _makes_sense(self) -> DatasetConfig:
        given = {name for name in self.model_fields_set if getattr(self, name) is not None}
        for one, other, reason in EITHER:
            if {one, other} <= given:
                raise ValueError(f"{one} and {other} are both given: {reason}")
        if self.seed and not self.modifiers:
            raise ValueError(f"seed draws for {', '.join(MODIFIERS)}, and none of them is given")
        return self

    @property
    def modifiers(self) -> dict[str, Any]:
        """What is drawn from train, with its seed, as it enters the identity; empty if nothing is."""
        given = self.model_dump(mode="json", include=set(MODIFIERS), exclude_none=True)
        return {**given, "seed": self.seed} if given else {}


class MethodConfig(Frozen):
    """A method's name; its own options stand beside the name and are checked by the method's room.

    `train` and `lottery` replace keys of the study's sections for this entry, `search` the protocol's space; `label` is
    its name in tables.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    name: str
    label: str | None = Field(default=None, min_length=1)
    train: dict[str, Any] = Field(default_factory=dict)
    lottery: dict[str, Any] = Field(default_factory=dict)
    search: Space | None = None

    @property
    def options(self) -> dict[str, Any]:
        """Everything else."""
        return dict(self.model_extra or {})


class TrainConfig(Frozen):
    """One round of training. `lr` is reached after `warmup_epochs` and then follows `schedule` to 0."""

    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=64, ge=1)
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = Field(default=1.0e-3, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: float = Field(default=0.0, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    deterministic: bool = False
    robust: RobustConfig | None = None
    augment: Literal["none", "flip", "crop_flip", "randaugment"] = "none"

    @model_validator(mode="after")
    def _warmup_ends(self) -> TrainConfig:
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs:g}) must be below epochs ({self.epochs})")
        return self


class LotteryConfig(Frozen):
    """`rounds: 5` is the dense round 0 and four prunings; `prune` is each one's share of what is alive, or the goal."""

    prune: Prune = 0.4
    rounds: int = Field(default_factory=rounds_of, ge=1)
    criterion: Literal["magnitude", "gradient_weight", "random"] = "magnitude"
    scope: Literal["layer", "normalised", "global"] = "layer"
    rewind: Rewind = "init"
    allow_dead_layers: bool = False
    tolerance: Annotated[float, Field(ge=0, le=1)] | None = None
    patience: int = Field(default=1, ge=1)
    controls: tuple[Control, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> LotteryConfig:
        fixed = fixed_rounds(self.prune)
        if fixed and self.rounds != fixed:
            raise ValueError(f"prune fixes rounds: {fixed} (the dense round 0 counts), but rounds is {self.rounds}")
        if "patience" in self.model_fields_set and "tolerance" not in self.model_fields_set:
            raise ValueError("patience counts the rounds that fall below tolerance, and tolerance is not given")
        if self.tolerance is not None and self.patience >= self.rounds:
            pruned = self.rounds - 1
            raise ValueError(f"tolerance never stops: patience is {self.patience}, and only {pruned} rounds are pruned")
        if len(set(self.controls)) < len(self.controls):
            raise ValueError(f"controls names {self.controls[0]} twice")
        if self.controls and self.rounds == 1:
            raise ValueError("controls stand beside pruned rounds, and rounds: 1 has none")
        if self.controls and self.rewind in ("learning_rate", "none"):
            raise ValueError(
                f"controls train once from round 0's start; with rewind: {self.rewind} a ticket trains on from round "
                "to round, so they compare nothing; use criterion: random as an experiment of its own"
            )
        if self.criterion == "random" and "random_ticket" in self.controls:
            raise ValueError("with criterion: random every ticket is a random ticket; leave that control out")
        return self


def _named(value: object) -> object:
    """`mnist` is short for `{name: mnist}`."""
    return {"name": value} if isinstance(value, str) else value


Datasets = tuple[Annotated[DatasetConfig, BeforeValidator(_named)], ...]
Methods = tuple[Annotated[MethodConfig, BeforeValidator(_named)], ...]


def _seeds(values: dict[str, Any]) -> tuple[int, ...]:
    """The default: one, or with a protocol those of its final runs."""
    return SEEDS if values.get("protocol") else (0,)


class Study(Frozen):
    """A whole study file. Its experiments are datasets × methods × seeds on one backbone."""

    study: str = Field(pattern=SLUG)
    storage: Place = Field(min_length=1)
    backbone: BackboneConfig
    datasets: Datasets = Field(min_length=1)
    methods: Methods = Field(min_length=1)
    protocol: Annotated[ProtocolConfig | None, BeforeValidator(_named)] = None
    seeds: tuple[Annotated[int, Field(ge=0, lt=2**32)], ...] = Field(default_factory=_seeds, min_length=1)
    train: TrainConfig = TrainConfig()
    lottery: LotteryConfig = LotteryConfig()
    scheduler: Annotated[SchedulerConfig, BeforeValidator(_named)] = SchedulerConfig()
    resources: ResourcesConfig = ResourcesConfig()
    data: DataConfig = DataConfig()
