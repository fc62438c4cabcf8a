"""What can be merged into the backbone's own weights, merged: served models cost what the backbone costs (`ticket`)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from lion_ray.methods.lora import LowRank
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.tuning import replace


@torch.no_grad()
def merge_(model: AdaptedModel) -> None:
    """Put LoRA's changes and SSF's scales and shifts into new weights, in place; no other model's weights change.

    SSF's logits stay as they are, bit for bit; LoRA's to round-off.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, LowRank):
            merged, layer = module.weight, module.layer
            layer.weight = nn.Parameter(merged, requires_grad=False)
            replace(model, name, layer)
        elif is_parametrized(module):
            for key in list(module.parametrizations):
                merged = getattr(module, key).clone()
                remove_parametrizations(module, key, leave_parametrized=False)
                setattr(module, key, nn.Parameter(merged, requires_grad=False))
