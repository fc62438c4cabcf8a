"""Partial fine-tuning: the last blocks of the backbone and what follows them are trained, all before stays frozen.

Partial-1 of Yosinski et al., NeurIPS 2014, as in VPT's comparison (Jia et al., ECCV 2022). Blocks are timm's: of a ViT
or Swin its transformer blocks, of a ConvNet its residual ones. Prunable as for `full`.
"""

from __future__ import annotations

import torch
from pydantic import Field

from lion_ray.backbones import Backbone, parameters_by_block, without_effect
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.registry import Method, always
from lion_ray.methods.tuning import NotApplicable, layer_weights, tuned


class PartialOptions(Frozen):
    """How many blocks are trained, counted from the last."""

    blocks: int = Field(default=1, ge=1)


def build(options: PartialOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The backbone unfolded, its last blocks trainable."""
    own = backbone.own(folded=False)
    try:
        _, *blocks = parameters_by_block(own.model)
    except LookupError as error:
        raise NotApplicable(str(error)) from error
    if options.blocks > len(blocks):
        raise NotApplicable(f"blocks is {options.blocks}, and it has {len(blocks)}; use full to train all of it")
    unheard = without_effect(own.model)
    names = [name for block in blocks[-options.blocks :] for name in block if name not in unheard]
    own.thaw(names)
    return tuned(own, num_classes, generator, prunable=layer_weights(own.model, names))


PARTIAL = Method(name="partial", options=PartialOptions, build=build, is_prunable=True, may_not_apply=always)
