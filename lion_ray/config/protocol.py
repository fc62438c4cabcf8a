"""The `protocol` section: the search for a setting, and the final runs with the chosen setting.

`lion_ray.experiments.settings` turns a search space into trials, `lion_ray.experiments.protocol` defines the splits
that each stage opens, and `lion_ray.study.search_groups` orders the stages.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from lion_ray.config.base import Frozen

SEEDS = (42, 44, 82, 100, 800)  # the seeds of VPT (tune_vtab.py)
RANGES = ("loguniform", "uniform")
FORMS = "give a list, {choice: [...]}, {loguniform: [low, high]} or {uniform: [low, high]}"


def _checked(space: dict[str, object]) -> dict[str, object]:
    """Raise a `ValueError` unless every axis of the search space has one of the `FORMS`."""
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


def _is_range(kind: str, values: list[object]) -> bool:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2 or not all(map(math.isfinite, numbers)):
        return False
    low, high = numbers
    return low < high and (kind == "uniform" or low > 0)


Space = Annotated[dict[str, object], AfterValidator(_checked)]
"""A search space: an axis by each key of a method entry, such as `train.lr`."""


class ProtocolConfig(Frozen):
    """The protocols `vtab1k`, `fewshot` and `longtail` search for a setting and then train it once per seed.

    `fixed` has no search and trains the settings of the study file. `search` is the search space; its keys are those
    of a method entry (`train.lr`, `lottery.prune`, `gamma`), and None stands for the grid of VPT. `samples` is the
    number of settings that are drawn from the space; None takes the whole grid of its lists.
    """

    name: Literal["vtab1k", "fewshot", "longtail", "fixed"] = Field(description="The protocol; see protocols.md.")
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
        """Whether the protocol begins with a search."""
        return self.name != "fixed"
