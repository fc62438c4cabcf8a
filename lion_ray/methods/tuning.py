"""What the methods that train something inside the backbone share: the model around it, its layers, and saying no.

Each works on a backbone of its own (`Backbone.own`), in evaluation mode: batch-norm statistics stay the frozen model's,
and nothing is dropped, so no result depends on how a batch is composed. Several workers were not tried.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TypeAlias

import torch
from torch import nn

from lion_ray.backbones import Backbone, classifier_parameters, without_effect
from lion_ray.methods.model import AdaptedModel, Body, Head
from lion_ray.methods.prompt import Prompt

Pointwise: TypeAlias = nn.Linear | nn.Conv2d
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d, nn.RMSNorm)


class NotApplicable(ValueError):
    """The method's idea does not apply to this backbone; the message says why and what does."""


def tuned(
    backbone: Backbone, num_classes: int, generator: torch.Generator, *, prunable: Iterable[str] = ()
) -> AdaptedModel:
    """The model at step 0 whose trained part is in `backbone`; `prunable` as for `Body`."""
    body = Body(backbone, Prompt(), prunable=prunable)
    return AdaptedModel(body, Head(Prompt(), backbone.num_features, num_classes, generator))


def used_parameters(backbone: Backbone, *, folded: bool = True) -> set[str]:
    """Names of the parameters in `own(folded=folded).model` that a method may train: the features depend on them.

    The classifier is never among them, nor is any other part that only serves logits, such as a head for distillation,
    nor a bias that changes nothing whatever it is.
    """
    model = backbone.own(folded=folded).model
    return set(backbone.reaching(folded=folded)) - classifier_parameters(model) - without_effect(model)


def used_modules(model: nn.Module, used: Collection[str]) -> Iterator[tuple[str, nn.Module]]:
    """All modules by name but those whose parameters are all outside `used`; a list, so that they may be replaced."""
    with_parameters = _places(name for name, _ in model.named_parameters(remove_duplicate=False))
    unused = with_parameters - _places(used)
    yield from [(name, module) for name, module in model.named_modules() if name and name not in unused]


def layer_weights(model: nn.Module, among: Collection[str]) -> list[str]:
    """Which of the parameters `among` are weights of linear layers or convolutions: what is pruned, unlike norms."""
    layers = {
        f"{name}.weight" for name, module in used_modules(model, among) if isinstance(module, (nn.Linear, nn.Conv2d))
    }
    return [name for name in among if name in layers]


def _places(names: Iterable[str]) -> set[str]:
    """The modules in which the parameters `names` lie, and those around them."""
    found = set[str]()
    for name in names:
        while name := name.rpartition(".")[0]:
            found.add(name)
    return found


def pointwise_layers(module: nn.Module) -> dict[str, Pointwise]:
    """Linear layers over channels by name: `nn.Linear`, and convolutions that see one pixel."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
        or (isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1)
    }


def sizes(layer: Pointwise) -> tuple[int, int]:
    """Channels in and out."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.in_channels, layer.out_channels


def replace(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put `module` in the place of the one called `name`."""
    place, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(place), leaf, module)


def uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> nn.Parameter:
    """Drawn from [-bound, bound]."""
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound, generator=generator))
