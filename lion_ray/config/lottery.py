"""The `lottery` section and the section `train.robust` of the study file.

`lion_ray.lottery` acts on them; the terms are defined in docs/method.md, *Lottery rounds* and *Robust training*.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from lion_ray.config.base import Frozen

Control = Literal["random_ticket", "reinit"]
Share = Annotated[float, Field(gt=0, lt=1)]


class OneShot(Frozen):
    """The section `prune: {one_shot: d}`. Round 0 is dense, and one pruning leads to the density `d`."""

    one_shot: Share = Field(description="The density after one pruning from dense.")


class RewindEpoch(Frozen):
    """The section `rewind: {epoch: k}`. Later rounds start from the state of round 0 after `k` epochs."""

    epoch: int = Field(ge=1, description="Later rounds start where round 0 stood after so many epochs.")


class RobustConfig(Frozen):
    """Robust training. After `warmup_epochs` of each round only the critical share `tau` of the weights learns.

    All other prunable weights shrink towards zero (docs/method.md, *Robust training*).
    """

    tau: float = Field(
        gt=0, le=1, description="Share of the living prompt weights that learn in a step: those of the highest |g·w|."
    )
    shrinkage: float = Field(ge=0, description="All other weights shrink by the learning rate times this value.")
    warmup_epochs: int = Field(default=1, ge=1, description="Ordinary epochs at the start of each round.")


def _falling(densities: tuple[float, ...]) -> tuple[float, ...]:
    if not densities:
        raise ValueError("an empty list names no density; give a share such as 0.4, or densities such as [0.5, 0.2]")
    rising = next(((one, other) for one, other in pairwise(densities) if other >= one), None)
    if rising:
        raise ValueError(f"densities must fall from round to round, but {rising[1]:g} follows {rising[0]:g}")
    return densities


def _kind(value: object) -> str:
    """The union member that a value of `prune` or `rewind` is validated as, so that an error names that form only."""
    if isinstance(value, (list, tuple)):
        return "Densities"
    return "Section" if isinstance(value, (Mapping, Frozen)) else "Plain"


Densities = Annotated[tuple[Share, ...], AfterValidator(_falling)]
Prune = Annotated[
    Annotated[Share, Tag("Plain")] | Annotated[Densities, Tag("Densities")] | Annotated[OneShot, Tag("Section")],
    Discriminator(_kind),
]
Rewind = Annotated[
    Annotated[Literal["init", "learning_rate", "none"], Tag("Plain")] | Annotated[RewindEpoch, Tag("Section")],
    Discriminator(lambda value: _kind(value).replace("Densities", "Plain")),
]


def _default_rounds(values: dict[str, object]) -> int:
    return fixed_rounds(values.get("prune")) or 5


def fixed_rounds(prune: object) -> int | None:
    """The number of rounds, round 0 included, that a value of `prune` implies; None if it implies none."""
    if isinstance(prune, OneShot):
        return 2
    return 1 + len(prune) if isinstance(prune, tuple) else None


class LotteryConfig(Frozen):
    """How tickets are found. `rounds: 5` is the dense round 0 and four pruned rounds.

    `prune` is the share of the surviving weights that each pruning removes, or the density after each pruning.
    """

    prune: Prune = Field(
        default=0.4,
        description="Share of the surviving weights that each pruning removes; or the density of each pruned round.",
    )
    rounds: int = Field(
        default_factory=_default_rounds,
        ge=1,
        description="The dense round 0 and the pruned ones; 5, unless `prune` fixes it.",
    )
    criterion: Literal["magnitude", "gradient_weight", "random"] = Field(
        default="magnitude",
        description="The score of a weight: |w|, |g·w| summed over the last epoch, or a random number.",
    )
    scope: Literal["layer", "normalised", "global"] = Field(
        default="layer",
        description="Which weights are ranked together: a layer's, all by relative scores, or all as they are.",
    )
    rewind: Rewind = Field(
        default="init", description="The state that the surviving weights return to; see lottery.md."
    )
    allow_dead_layers: bool = Field(default=False, description="Whether a layer may lose its last weight.")
    tolerance: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="With `scheduler: lottery`: by how much val accuracy may fall below round 0; null never stops.",
    )
    patience: int = Field(default=1, ge=1, description="Number of consecutive rounds that have to fall below it.")
    controls: tuple[Control, ...] = Field(
        default=(), description="Comparisons that are trained once beside each pruned round; see lottery.md."
    )

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
