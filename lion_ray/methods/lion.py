"""LION: an equilibrium layer in front of the frozen backbone and one behind it (METHOD.md, *Model*).

    x_pro = x + V1 z1*,  z1* = tanh(W1 z1* + U1 x + b1)     input prompt, image-sized
    h_pro = h + V2 z2*,  z2* = tanh(W2 z2* + U2 h + b2)     output prompt, feature-sized

V1 and V2 start at zero, so at step 0 the model is the frozen backbone with a new classifier. Two layers and where they
stand are the paper's (Wang et al., AAAI 2024); the cells, their bound and every width are this project's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from pydantic import Field, ValidationInfo, field_validator, model_validator
from torch import Tensor, nn

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen
from lion_ray.implicit import Cell, ConvCell, ExplicitLayer, ImplicitLayer, LinearCell, write
from lion_ray.methods.equilibrium import (
    GradientChoice,
    SolverChoice,
    SolveSettings,
    make_gradient,
    make_solver,
    without_defaults,
)
from lion_ray.methods.model import AdaptedModel, Body, Head, Prompt
from lion_ray.methods.registry import Method


class InputOptions(Frozen):
    """The input prompt: a convolutional cell, its state `channels` maps at 1/`stride` of the resolution."""

    channels: int = Field(default=8, ge=1)
    kernel: int = Field(default=3, ge=1)
    stride: int = Field(default=8, ge=1)
    groups: int = Field(default=1, ge=1)
    dilation: int = Field(default=1, ge=1)
    lr_multiplier: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> InputOptions:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel ({self.kernel}) must be odd, so that W keeps the state's resolution")
        if self.channels % self.groups:
            raise ValueError(f"groups ({self.groups}) must divide channels ({self.channels})")
        return self


class OutputOptions(Frozen):
    """The output prompt on pooled features: a linear cell with a state of `width` units."""

    width: int = Field(default=64, ge=1)
    lr_multiplier: float = Field(default=1.0, gt=0)


class LionOptions(Frozen):
    """`input: false` or `output: false` leaves that prompt out. `gamma` bounds ‖W‖∞; null frees it.

    `cell: explicit` is the ablation: `depth` copies of the cell in a row, nothing solved. `check_every` spaces the
    questions to the device whether all samples are done; no bit of a result depends on it, so no hash does.
    """

    input: InputOptions | Literal[False] = InputOptions()
    output: OutputOptions | Literal[False] = OutputOptions()
    gamma: float | None = Field(default=0.5, gt=0, lt=1)
    cell: Literal["implicit", "explicit"] = "implicit"
    depth: int = Field(default=1, ge=1)
    solver: SolverChoice = "picard"
    tolerance: float = Field(default=1e-4, gt=0)
    max_steps: int = Field(default=60, ge=1)
    gradient: GradientChoice = "implicit"
    check_every: int = Field(default=1, ge=1, exclude=True)

    @field_validator("gradient")
    @classmethod
    def _one_meaning_has_one_form(cls, gradient: GradientChoice, info: ValidationInfo) -> GradientChoice:
        if not {"tolerance", "max_steps"} <= info.data.keys():  # one of them is wrong, and will be named
            return gradient
        return without_defaults(gradient, tolerance=info.data["tolerance"], max_steps=info.data["max_steps"])

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


class EquilibriumPrompt(Prompt):
    """`x + V z*` with `V` starting at zero; leaves say what `V` is."""

    def __init__(self, make_cell: Callable[[], Cell], options: LionOptions, lr_multiplier: float) -> None:
        super().__init__()
        self.equilibrium = make_layer(make_cell, options)
        self.lr_multiplier = lr_multiplier

    def prunable(self) -> tuple[str, ...]:
        """All trained weights; biases stay."""
        weights = ((name, p) for name, p in self.equilibrium.named_parameters() if not name.endswith(".b"))
        return *(f"equilibrium.{name}" for name, p in weights if p.requires_grad), "V"

    def project_(self) -> None:
        """Scale each row of `W` back inside the bound."""
        self.equilibrium.project_()

    def health(self) -> dict[str, float]:
        """The solver's health since the last call."""
        health = self.equilibrium.health()
        self.equilibrium.reset_health()
        return health


def make_layer(make_cell: Callable[[], Cell], options: LionOptions) -> ImplicitLayer | ExplicitLayer:
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


class InputPrompt(EquilibriumPrompt):
    """`x + V1 z1*` on images (B, 3, H, W); `V1` (c, 3, s, s) writes the patches that the injection `U1` reads."""

    def __init__(self, input: InputOptions, options: LionOptions, generator: torch.Generator) -> None:
        shape = {"kernel_size": input.kernel, "stride": input.stride}
        shape |= {"groups": input.groups, "dilation": input.dilation}
        make_cell = partial(ConvCell, 3, input.channels, generator=generator, **shape)
        super().__init__(make_cell, options, input.lr_multiplier)
        self.V = nn.Parameter(torch.zeros(input.channels, 3, input.stride, input.stride))

    def forward(self, x: Tensor) -> Tensor:
        """The prompted images."""
        return write(x, self.equilibrium(x), self.V.to(x.dtype))


class OutputPrompt(EquilibriumPrompt):
    """`h + V2 z2*` on features (B, D)."""

    def __init__(
        self, output: OutputOptions, num_features: int, options: LionOptions, generator: torch.Generator
    ) -> None:
        make_cell = partial(LinearCell, num_features, output.width, generator=generator)
        super().__init__(make_cell, options, output.lr_multiplier)
        self.V = nn.Parameter(torch.zeros(num_features, output.width))

    def forward(self, x: Tensor) -> Tensor:
        """The prompted features."""
        return x + nn.functional.linear(self.equilibrium(x), self.V.to(x.dtype))


def build(options: LionOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The model at step 0: its features are exactly the backbone's."""
    before = InputPrompt(options.input, options, generator) if options.input else Prompt()
    after = OutputPrompt(options.output, backbone.num_features, options, generator) if options.output else Prompt()
    return AdaptedModel(Body(backbone, before), Head(after, backbone.num_features, num_classes, generator))


LION = Method(name="lion", options=LionOptions, build=build, is_prunable=True)
