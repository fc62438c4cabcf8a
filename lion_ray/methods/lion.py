"""LION: an equilibrium layer in front of the frozen backbone and one behind it (docs/method.md, *Model*).

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

from lion_ray.backbones import Backbone, Maps, middle
from lion_ray.implicit import (
    Cell,
    ConvCell,
    ExplicitLayer,
    ImplicitLayer,
    LinearCell,
    injection_init,
)
from lion_ray.methods.equilibrium import SolveSettings, make_gradient, make_solver
from lion_ray.methods.lion_options import InputOptions, LionOptions, OutputOptions
from lion_ray.methods.model import AdaptedModel, Body, Head
from lion_ray.methods.prompt import Prompt
from lion_ray.methods.prompts import InputPrompt, Layer, MapsPrompt, OutputPrompt
from lion_ray.methods.registry import Method
from lion_ray.methods.solve_settings import too_few_steps


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
