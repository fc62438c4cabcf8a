"""Full fine-tuning: every tensor of the backbone on which the features depend is trained, and with it the classifier.

Weights of linear layers and convolutions are prunable; biases, norms, tokens and position embeddings are not. A ticket
holds the whole backbone.

There is no one paper. Unlike in most code for it, the backbone stays in evaluation mode: no dropout, no stochastic
depth, and batch norms keep the frozen model's statistics.
"""

from __future__ import annotations

import torch

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.registry import Method
from lion_ray.methods.tuning import layer_weights, tuned, used_parameters


class FullOptions(Frozen):
    """None."""


def build(options: FullOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The backbone unfolded, all of it trainable."""
    own = backbone.own(folded=False)
    used = used_parameters(backbone, folded=False)
    names = [name for name, _ in own.model.named_parameters() if name in used]
    own.thaw(names)
    return tuned(own, num_classes, generator, prunable=layer_weights(own.model, names))


FULL = Method(name="full", options=FullOptions, build=build, is_prunable=True, brings="trained weights")
