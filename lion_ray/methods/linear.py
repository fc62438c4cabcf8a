"""Linear probe: the frozen backbone with a new classifier and nothing else. The floor that every method must beat.

There is no one paper, and code differs. Nothing stands between features and classifier here, as in VPT's (KMnP/vpt);
AdaptFormer's has a batch norm without weights there, and so has MAE's (from memory of the public code). The weights
start normal with 0.01 and the bias at zero; VPT's start by Kaiming's rule, and its bias at the odds of 1 in 100.
"""

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


LINEAR = Method(name="linear", options=LinearOptions, build=build, is_prunable=False, brings="a new classifier")
