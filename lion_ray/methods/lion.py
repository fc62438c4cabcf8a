"""LION: an equilibrium layer in front of the frozen backbone and one behind it (METHOD.md, *Model*).

    x_pro = x + V1 z1*,  z1* = tanh(W1 z1* + U1 x + b1)     input prompt, image-sized
    h_pro = h + V2 z2*,  z2* = tanh(W2 z2* + U2 h + b2)     output prompt, feature-sized

V1 and V2 start at zero, so at step 0 the model is the frozen backbone with a new classifier. Two layers and where they
stand are the paper's (Wang et al., AAAI 2024). It has no public code, and its body was not at hand: the cells, their
bound, every width and start, and every other source of the output prompt than pooled features are this project's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import Field, model_validator

from lion_ray.backbones import Backbone, Maps, middle
from lion_ray.config import Frozen
from lion_ray.implicit import (
    DEFAULT_STEPS,
    Cell,
    ConvCell,
    ExplicitLayer,
    ImplicitLayer,
    LinearCell,
    injection_init,
)
from lion_ray.methods.equilibrium import (
    MOST_STEPS,
    GradientChoice,
    SolverChoice,
    SolveSettings,
    make_gradient,
    make_solver,
)
from lion_ray.methods.model import AdaptedModel, Body, Head
from lion_ray.methods.prompt import Prompt
from lion_ray.methods.prompts import InputPrompt, Layer, MapsPrompt, OutputPrompt
from lion_ray.methods.registry import Method
from lion_ray.methods.solve_settings import settled, too_few_steps, too_many_steps


class InputOptions(Frozen):
    """The input prompt: a convolutional cell, its state `channels` maps at 1/`stride` of the resolution."""

    channels: int = Field(default=8, ge=1)
    kernel: int = Field(default=3, ge=1)
    stride: int = Field(default=8, ge=1)
    groups: int = Field(default=1, ge=1)
    dilation: int = Field(default=1, ge=1, le=64)
    lr_multiplier: float = Field(default=1.0, gt=0)

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

    source: Literal["pooled", "map", "stages", "image"] = "pooled"
    width: int | None = Field(default=None, ge=1)
    stages: tuple[int, ...] | None = Field(default=None, min_length=1, max_length=64)
    kernel: int = Field(default=3, ge=1)
    grid: int = Field(default=6, ge=1, le=64)
    readout: int = Field(default=3, ge=1)
    rank: int = Field(default=16, ge=1)
    auxiliary: float | None = Field(default=None, ge=0)
    lr_multiplier: float = Field(default=1.0, gt=0)

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

    input: InputOptions | Literal[False] = InputOptions()
    output: OutputOptions | Literal[False] = OutputOptions()
    gamma: float | None = Field(default=0.5, gt=0, lt=1)
    cell: Literal["implicit", "explicit"] = "implicit"
    depth: int = Field(default=1, ge=1, le=100)
    solver: SolverChoice = "picard"
    tolerance: float = Field(default=1e-4, gt=0)
    max_steps: int = Field(default=DEFAULT_STEPS, ge=1, le=MOST_STEPS)
    gradient: GradientChoice = "implicit"
    check_every: int | None = Field(default=None, ge=1, exclude=True)

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
        update = settled(self, is_given="max_steps" in self.model_fields_set) if self.cell == "implicit" else {}
        found = self.model_copy(update=update) if update else self
        if self.cell == "implicit" and (endless := too_many_steps(found)):
            raise ValueError(endless)
        return found


def make_layer(make_cell: Callable[[], Cell], options: LionOptions) -> Layer:
    """The layer u -> z that the options describe."""
    if options.cell == "explicit":
        return ExplicitLayer([make_cell() for _ in range(options.depth)], gamma=options.gamma)
    settings: SolveSettings = {
        "tolerance": options.tolerance,
        "max_steps": options.max_steps,
        "check_every": options.check_every,
    }
    return ImplicitLayer(
        make_cell(),
        solver=make_solver(options.solver),
        gradient=make_gradient(options.gradient, **settings),
        gamma=options.gamma,
        **settings,
    )


def build(options: LionOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The model at step 0: its features are exactly the backbone's.

    Raises:
        NoSuchMaps: the output prompt reads maps that the backbone does not have.
    """
    maps = _maps(options.output, backbone)
    before = _input_prompt(options.input, options, generator) if options.input else Prompt()
    after = _output_prompt(options.output, options, backbone, maps, generator) if options.output else Prompt()
    auxiliary = options.output.auxiliary_weight if options.output else 0.0
    head = Head(after, backbone.num_features, num_classes, generator, auxiliary)
    return AdaptedModel(Body(backbone, before, maps=maps), head)


def _input_prompt(input: InputOptions, options: LionOptions, generator: torch.Generator) -> InputPrompt:
    shape = {"kernel_size": input.kernel, "stride": input.stride}
    shape |= {"groups": input.groups, "dilation": input.dilation}
    layer = make_layer(partial(ConvCell, 3, input.channels, generator=generator, **shape), options)
    return InputPrompt(layer, input.lr_multiplier, channels=input.channels, stride=input.stride)


def _maps(output: OutputOptions | Literal[False], backbone: Backbone) -> Maps | None:
    if not output or output.source == "pooled":
        return None
    stages = {"map": (-1,), "image": (), "stages": output.stages or middle(backbone)}[output.source]
    return Maps(stages=stages, grid=output.grid)


def _output_prompt(
    output: OutputOptions, options: LionOptions, backbone: Backbone, maps: Maps | None, generator: torch.Generator
) -> OutputPrompt | MapsPrompt:
    width, num_features = output.num_units, backbone.num_features
    if maps is None:
        layer = make_layer(partial(LinearCell, num_features, width, generator=generator), options)
        return OutputPrompt(layer, output.lr_multiplier, num_features=num_features, width=width)
    shape = {"kernel_size": output.kernel, "stride": 1}
    layer = make_layer(partial(ConvCell, maps.num_channels(backbone), width, generator=generator, **shape), options)
    R = injection_init((output.rank, width * output.readout**2), generator)
    return MapsPrompt(
        layer, output.lr_multiplier, num_features=num_features, grid=output.grid, readout=output.readout, R=R
    )


def _objection(options: LionOptions) -> tuple[str, str] | None:
    return too_few_steps(options) if options.cell == "implicit" else None


LION = Method(
    name="lion",
    options=LionOptions,
    build=build,
    is_prunable=True,
    brings="LION's prompts",
    objection=_objection,
)
