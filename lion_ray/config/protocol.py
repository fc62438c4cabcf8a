"""The `protocol` section: how settings are found and how often the chosen one is trained for the figures of a table.

`settings` makes trials of a search space, `protocol` says which splits each stage opens, `stages` puts them in order.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from lion_ray.config.base import Frozen

SEEDS = (42, 44, 82, 100, 800)  # VPT's (tune_vtab.py)
RANGES = ("loguniform", "uniform")
FORMS = "give a list, {choice: [...]}, {loguniform: [low, high]} or {uniform: [low, high]}"


def _checked(space: dict[str, Any]) -> dict[str, Any]:
    """A space whose every axis has a known form."""
    if not space:
        raise ValueError("an empty search names no key; give one such as train.lr: [0.01, 0.001]")
    for key, axis in space.items():
        kind, values = next(iter(axis.items())) if isinstance(axis, dict) and len(axis) == 1 else ("choice", axis)
        if kind not in ("choice", *RANGES) or not isinstance(values, list) or not values:
            raise ValueError(f"{key}: {FORMS}")
        if kind in RANGES and not _is_range(kind, values):
            raise ValueError(f"{key}: {kind} takes two numbers, [low, high]{' above 0' * (kind == 'loguniform')}")
        if kind == "choice" and any(values.count(value) > 1 for value in values):
            raise ValueError(f"{key}: a value stands there twice")
    return space


def _is_range(kind: str, values: list[Any]) -> bool:
    if len(values) != 2 or not all(type(value) in (int, float) and math.isfinite(value) for value in values):
        return False
    return bool(values[0] < values[1]) and (kind == "uniform" or values[0] > 0)


Space = Annotated[dict[str, Any], AfterValidator(_checked)]


class ProtocolConfig(Frozen):
    """`vtab1k`, `fewshot` and `longtail` search, then train the chosen setting once per seed; `fixed` only does that.

    `search` is the space, its keys those of a method entry (`train.lr`, `lottery.prune`, `gamma`); None is VPT's grid.
    With `samples` so many settings are drawn from it, otherwise it is a grid of lists.
    """

    name: Literal["vtab1k", "fewshot", "longtail", "fixed"] = Field(description="See protocols.md.")
    search: Space | None = Field(
        default=None, description="The space, by key of a method entry, such as `train.lr`; null is VPT's grid."
    )
    samples: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many settings are drawn from the space; null takes the grid of its lists."
    )

    @model_validator(mode="after")
    def _makes_sense(self) -> ProtocolConfig:
        if not self.searches and (self.search or self.samples):
            raise ValueError("fixed searches nothing; use vtab1k, fewshot or longtail, or leave search and samples out")
        return self

    @property
    def searches(self) -> bool:
        """Whether settings are chosen first."""
        return self.name != "fixed"
