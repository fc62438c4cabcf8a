"""The options of method `lion`: its two prompts, their cells, and how the equilibria are solved.

`lion` builds the model from them; docs/method.md says what they mean (*Model*, *Solves and gradients*).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from lion_ray.config import Frozen
from lion_ray.implicit import DEFAULT_STEPS
from lion_ray.methods.equilibrium import MOST_STEPS, GradientChoice, SolverChoice
from lion_ray.methods.solve_settings import resolved, too_many_steps


class InputOptions(Frozen):
    """The input prompt: a convolutional cell, its state `channels` maps at 1/`stride` of the resolution."""

    channels: int = Field(default=8, ge=1, description="Maps of the state.")
    kernel: int = Field(default=3, ge=1, description="Side of W's kernel; odd.")
    stride: int = Field(default=8, ge=1, description="The state has 1/stride of the image's resolution.")
    groups: int = Field(default=1, ge=1, description="Groups of W; divides `channels`.")
    dilation: int = Field(default=1, ge=1, le=64, description="Of W's kernel.")
    lr_multiplier: float = Field(default=1.0, gt=0, description="The prompt's learning rate over the study's.")

    @model_validator(mode="after")
    def _fits(self) -> InputOptions:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel ({self.kernel}) must be odd, so that W keeps the state's resolution")
        if self.channels % self.groups:
            raise ValueError(f"groups ({self.groups}) must divide channels ({self.channels})")
        return self


class OutputOptions(Frozen):
    """The output prompt, by what it reads (`source`).

    `pooled`: the features, a linear cell of `width` units (default 64). The others have a convolutional cell of `width`
    maps (default 32) on `grid` x `grid` places, read out over `readout` x `readout` fields through a V of `rank`:
    `stages` reads mid-level maps (timm's by index; null: two in the middle), `map` the last one, `image` the image.
    `auxiliary` weighs the loss of the prompt alone (see `Head`): by default 0 for `pooled`, else 1.
    """

    source: Literal["pooled", "map", "stages", "image"] = Field(
        default="pooled",
        description="What the prompt reads: pooled features, the last map, mid-level maps, or the image.",
    )
    width: int | None = Field(
        default=None, ge=1, description="Units of the state; null is 64 for `pooled`, else 32 maps."
    )
    stages: tuple[int, ...] | None = Field(
        default=None, min_length=1, max_length=64, description="timm's indices of the maps; null is two in the middle."
    )
    kernel: int = Field(default=3, ge=1, description="Side of W's kernel; odd.")
    grid: int = Field(default=6, ge=1, le=64, description="Places of a side of the state.")
    readout: int = Field(default=3, ge=1, description="Fields of a side over which the state is averaged.")
    rank: int = Field(default=16, ge=1, description="Of the read-out V.")
    auxiliary: float | None = Field(
        default=None, ge=0, description="Weight of the loss of the prompt alone; null is 0 for `pooled`, else 1."
    )
    lr_multiplier: float = Field(default=1.0, gt=0, description="The prompt's learning rate over the study's.")

    @property
    def auxiliary_weight(self) -> float:
        """`auxiliary`, or its default."""
        return float(self.source != "pooled") if self.auxiliary is None else self.auxiliary

    @property
    def num_units(self) -> int:
        """`width`, or its default."""
        return self.width or (64 if self.source == "pooled" else 32)

    @model_validator(mode="after")
    def _makes_sense(self) -> OutputOptions:
        spatial = {"stages", "kernel", "grid", "readout", "rank"} & self.model_dump(exclude_defaults=True).keys()
        if self.source == "pooled" and spatial:
            raise ValueError(f"{sorted(spatial)[0]} has no effect: source: pooled has no places; use source: stages")
        if self.source in ("map", "image") and self.stages is not None:
            raise ValueError(f"stages has no effect: source: {self.source} reads none; use source: stages")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel ({self.kernel}) must be odd, so that W keeps the grid")
        if self.readout > self.grid:
            raise ValueError(f"readout ({self.readout}) must be at most grid ({self.grid})")
        return self


class LionOptions(Frozen):
    """`input: false` or `output: false` leaves that prompt out. `gamma` bounds ‖W‖∞; null frees it.

    `max_steps` that is not given is what gamma and `tolerance` can need, and at least 60.

    `cell: explicit` is the ablation: `depth` copies of the cell in a row, nothing solved. `check_every` spaces the
    questions to the device whether all samples are done; no bit of a result depends on it, so no hash does.
    """

    input: InputOptions | Literal[False] = Field(
        default=InputOptions(), description="The input prompt; `false` leaves it out."
    )
    output: OutputOptions | Literal[False] = Field(
        default=OutputOptions(), description="The output prompt; `false` leaves it out."
    )
    gamma: float | None = Field(default=0.5, gt=0, lt=1, description="Bound on ‖W‖∞; null frees the cell.")
    cell: Literal["implicit", "explicit"] = Field(
        default="implicit", description="`explicit` is the ablation: nothing is solved."
    )
    depth: int = Field(default=1, ge=1, le=100, description="Copies of an explicit cell in a row.")
    solver: SolverChoice = Field(default="picard", description="Of the forward solve.")
    tolerance: float = Field(default=1e-4, gt=0, description="Relative residual at which a sample is solved.")
    max_steps: int = Field(
        default=DEFAULT_STEPS,
        ge=1,
        le=MOST_STEPS,
        description="Most evaluations of a solve; by default what the bound can need, and at least 60.",
    )
    gradient: GradientChoice = Field(default="implicit", description="How gradients pass the equilibrium.")
    check_every: int | None = Field(
        default=None,
        ge=1,
        exclude=True,
        description="Steps between questions to the device whether all is solved; null is 1 on a CPU, else 4.",
    )

    @model_validator(mode="after")
    def _has_a_prompt(self) -> LionOptions:
        if not self.input and not self.output:
            raise ValueError("input and output are both false: nothing is left of LION; use method linear")
        if self.cell == "implicit" and self.depth != 1:
            raise ValueError(f"depth ({self.depth}) counts the copies of an explicit cell; add cell: explicit")
        inert = {"solver", "gradient", "tolerance", "max_steps"} & self.model_dump(exclude_defaults=True).keys()
        if self.cell == "explicit" and inert:
            raise ValueError(f"{sorted(inert)[0]} has no effect: cell: explicit solves nothing; leave it out")
        return self

    @model_validator(mode="after")
    def _solves_are_settled(self) -> LionOptions:
        update = resolved(self, is_given="max_steps" in self.model_fields_set) if self.cell == "implicit" else {}
        found = self.model_copy(update=update) if update else self
        if self.cell == "implicit" and (endless := too_many_steps(found)):
            raise ValueError(endless)
        return found
