"""Bias tuning: every bias of the backbone and the scale of every norm are trained (BitFit, Zaken et al., ACL 2022).

Of a batch norm these are its scale and shift; its statistics stay. Nothing is prunable: a bias of zero is no smaller
model.
"""

from __future__ import annotations

import torch

from lion_ray.backbones import Backbone, classifier_parameters, without_effect
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.registry import Method, always
from lion_ray.methods.tuning import NORMS, NotApplicable, tuned, used_modules


class BiasOptions(Frozen):
    """None."""


def build(options: BiasOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The backbone unfolded, its biases and norms trainable."""
    own = backbone.own(folded=False)
    norms = {f"{name}.weight" for name, module in used_modules(own.model) if isinstance(module, NORMS)}
    unused = classifier_parameters(own.model) | without_effect(own.model)
    candidates = {name for name, _ in own.model.named_parameters()} - unused
    names = sorted(name for name in candidates if name in norms or name.endswith("bias"))
    if not names:
        raise NotApplicable("it has neither biases nor norms")
    own.thaw(names)
    return tuned(own, num_classes, generator)


BIAS = Method(name="bias", options=BiasOptions, build=build, is_prunable=False, may_not_apply=always)
