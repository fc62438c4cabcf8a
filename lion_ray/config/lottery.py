"""The values of `lottery` and `train.robust` that are more than a word or a number (docs/method.md, *Lottery rounds*)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from lion_ray.config.base import Frozen

Control = Literal["random_ticket", "reinit"]
Share = Annotated[float, Field(gt=0, lt=1)]


class OneShot(Frozen):
    """`prune: {one_shot: d}`: dense round 0, then one pruning to the density `d`."""

    one_shot: Share


class RewindEpoch(Frozen):
    """`rewind: {epoch: k}`: later rounds start from where round 0 stood after `k` epochs."""

    epoch: int = Field(ge=1)


class RobustConfig(Frozen):
    """After `warmup_epochs` of a round only the share `tau` of critical weights learns; the others shrink."""

    tau: float = Field(gt=0, le=1)
    shrinkage: float = Field(ge=0)
    warmup_epochs: int = Field(default=1, ge=1)


def _falling(densities: tuple[float, ...]) -> tuple[float, ...]:
    if not densities:
        raise ValueError("an empty list names no density; give a share such as 0.4, or densities such as [0.5, 0.2]")
    rising = next(((one, other) for one, other in pairwise(densities) if other >= one), None)
    if rising:
        raise ValueError(f"densities must fall from round to round, but {rising[1]:g} follows {rising[0]:g}")
    return densities


def _kind(value: object) -> str:
    """Which of the forms of `prune` or `rewind` a value takes, so that its message is that form's alone."""
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


def rounds_of(values: dict[str, Any]) -> int:
    """The default of `rounds`: a list of densities or a single shot fixes it."""
    return fixed_rounds(values.get("prune")) or 5


def fixed_rounds(prune: object) -> int | None:
    """The number of rounds that `prune` fixes, round 0 included; None if it fixes none."""
    if isinstance(prune, OneShot):
        return 2
    return 1 + len(prune) if isinstance(prune, tuple) else None
