"""Linear probe: the frozen backbone with a new classifier and nothing else. The floor that every method must beat."""

from __future__ import annotations

import torch

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel, Body, Head
from lion_ray.methods.prompt import Prompt
from lion_ray.methods.registry import Method


class LinearOptions(Frozen):
    """None."""


def build(options: LinearOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """`logits = C F(x)`."""
    head = Head(Prompt(), backbone.num_features, num_classes, generator)
    return AdaptedModel(Body(backbone, Prompt()), head)


LINEAR = Method(name="linear", options=LinearOptions, build=build, is_prunable=False)
