"""Full fine-tuning: every tensor of the backbone that can act is trained, and with it the classifier.

Weights of linear layers and convolutions are prunable; biases, norms, tokens and position embeddings are not. A ticket
holds the whole backbone.
"""

from __future__ import annotations

import torch

from lion_ray.backbones import Backbone, classifier_parameters, without_effect
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.registry import Method, always
from lion_ray.methods.tuning import layer_weights, tuned


class FullOptions(Frozen):
    """None."""


def build(options: FullOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The backbone unfolded, all of it trainable."""
    own = backbone.own(folded=False)
    unused = classifier_parameters(own.model) | without_effect(own.model)
    names = [name for name, _ in own.model.named_parameters() if name not in unused]
    own.thaw(names)
    return tuned(own, num_classes, generator, prunable=layer_weights(own.model, names))


FULL = Method(name="full", options=FullOptions, build=build, is_prunable=True, may_not_apply=always)
