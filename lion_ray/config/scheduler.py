"""The `scheduler` section: which experiments continue after a round, and the budget of the whole study.

`lion_ray.schedule` acts on it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from lion_ray.config.base import Frozen

READS = {"grace_rounds": ("asha", "median"), "reduction_factor": ("asha", "hyperband"), "min_samples": ("median",)}


class BudgetConfig(Frozen):
    """The limit of the whole study over all its runs: trained rounds, hours of wall time, or both."""

    rounds: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Trained rounds of the whole study.")
    hours: Annotated[float, Field(gt=0)] | None = Field(default=None, description="Wall time of all its runs together.")

    @model_validator(mode="after")
    def _limits_something(self) -> BudgetConfig:
        if self.rounds is None and self.hours is None:
            raise ValueError("limits nothing: give rounds, hours, or both")
        return self


class SchedulerConfig(Frozen):
    """`lottery` stops an experiment by its own `lottery.tolerance`; the others compare experiments of one dataset.

    `rounds_per_turn` is the number of rounds that an experiment trains before experiments with fewer rounds may go
    first. None stands for 1 round with one worker, and for all rounds with several workers.
    """

    name: Literal["lottery", "asha", "hyperband", "median", "none"] = Field(
        default="lottery",
        description="`lottery` reads `lottery.tolerance`; `asha`, `hyperband` and `median` are Ray Tune's.",
    )
    grace_rounds: int = Field(
        default=1, ge=1, description="Rounds that every experiment trains, for `asha` and `median`."
    )
    reduction_factor: float = Field(
        default=3.0, gt=1, description="The best 1/n of the experiments go on, for `asha` and `hyperband`."
    )
    min_samples: int = Field(default=3, ge=1, description="Experiments that `median` waits for before it stops one.")
    rounds_per_turn: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Rounds before others may go first; null is 1 for one worker, all for more."
    )
    budget: BudgetConfig | None = Field(default=None, description="What the whole study may spend; null is no limit.")

    @model_validator(mode="after")
    def _makes_sense(self) -> SchedulerConfig:
        for key, names in READS.items():
            if key in self.model_fields_set and self.name not in names:
                raise ValueError(f"{key} is read by {' and '.join(names)} only, but the scheduler is {self.name}")
        return self

    def reason_it_never_stops(self, most_rounds: int, num_competitors: int) -> str | None:
        """The reason why this scheduler can never stop an experiment, or None if it can.

        Args:
            most_rounds: the largest number of rounds of an experiment.
            num_competitors: the largest number of experiments that are compared with each other.
        """
        least = 1 + (self.min_samples if self.name == "median" else 1)
        if self.compares and self.grace_rounds >= most_rounds:
            return f"{self.name} spares an experiment's first {self.grace_rounds} rounds, and there are {most_rounds}"
        if self.compares and num_competitors < least:
            return f"{self.name} needs {least} experiments of one dataset to compare, and there are {num_competitors}"
        return None

    @property
    def compares(self) -> bool:
        """Whether a decision depends on other experiments, so that the order of decisions has to be stored."""
        return self.name not in ("lottery", "none")
