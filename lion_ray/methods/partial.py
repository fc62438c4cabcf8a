"""Partial fine-tuning: the last blocks of the backbone and what follows them are trained, all before stays frozen.

Yosinski et al., NeurIPS 2014, as in VPT's comparison (Jia et al., ECCV 2022). Blocks are timm's: of a ViT or Swin its
transformer blocks, of a ConvNet its residual ones. Prunable as for `full`.

`blocks: 1` is `partial-1` of VPT's code (KMnP/vpt) on a ViT or Swin: the last block and the last norm. On a ResNet its
`partial-1` is the whole last stage, and the last block is its `partial-0`: there `blocks: 1` is the latter. Batch norms
keep the frozen model's statistics here.
"""

from __future__ import annotations

import torch
from pydantic import Field

from lion_ray.backbones import Backbone, parameters_by_block
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.registry import Method
from lion_ray.methods.tuning import NotApplicable, layer_weights, tuned, used_parameters


class PartialOptions(Frozen):
    """How many blocks are trained, counted from the last."""

    blocks: int = Field(default=1, ge=1, description="How many of the last blocks are trained.")


def build(options: PartialOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The backbone unfolded, its last blocks trainable."""
    own = backbone.own(folded=False)
    try:
        _, *groups = parameters_by_block(own.model)
    except LookupError as error:
        raise NotApplicable(str(error)) from error
    used = used_parameters(backbone, folded=False)
    blocks = [names for group in groups if (names := [name for name in group if name in used])]
    if options.blocks > len(blocks):
        raise NotApplicable(f"blocks is {options.blocks}, and it has {len(blocks)}; use full to train all of it")
    names = [name for block in blocks[-options.blocks :] for name in block]
    own.thaw(names)
    return tuned(own, num_classes, generator, prunable=layer_weights(own.model, names))


PARTIAL = Method(
    name="partial",
    options=PartialOptions,
    build=build,
    is_prunable=True,
    brings="trained last blocks",
)
