"""SSF: every channel of every layer and norm is scaled and shifted (Lian et al., NeurIPS 2022).

    y ← (1 + scale) ⊙ y + shift

They are parametrizations of the layer's own weight and bias, so the model that trains is the merged one, and a merged
export gives its bits. Pruning one to zero removes it.

Where they stand is the paper's and its code's (dongzelian/SSF): in a ViT behind the patches' convolution, both norms,
qkv, proj and both layers of the MLP of each block, and the last norm. Start: the code draws scales from a normal
distribution of 0.02 around 1 and shifts around 0; ours are exactly there, so step 0 is the frozen model. A convolution
with its batch norm folded in is one layer here, since two scales in a row would be one. A convolution that standardises
its weight (BiT, hybrid ViTs, NFNets) undoes any scale of it: there its gain is scaled, and one without a gain is
shifted alone. A layer whose bias the model keeps elsewhere (qkv of BEiT and EVA) has its weight scaled and nothing
shifted.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from lion_ray.backbones import Backbone, is_standardised
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.registry import Method
from lion_ray.methods.tuning import NORMS, tuned, used_modules, used_parameters


class SsfOptions(Frozen):
    """None."""


class Scaled(nn.Module):
    """`(1 + scale) ⊙ weight` by output channel."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(num_channels))

    def forward(self, weight: Tensor) -> Tensor:
        """The scaled weight."""
        return weight * (1 + self.scale).view(-1, *[1] * (weight.dim() - 1))


class ScaledAndShifted(nn.Module):
    """`(1 + scale) ⊙ bias + shift`, its scale the weight's."""

    def __init__(self, scaled: Scaled) -> None:
        super().__init__()
        self.scaled = scaled
        self.shift = nn.Parameter(torch.zeros_like(scaled.scale))

    def forward(self, bias: Tensor) -> Tensor:
        """The scaled and shifted bias."""
        changed: Tensor = self.scaled(bias) + self.shift
        return changed


class Shifted(nn.Module):
    """`bias + shift`, where no scale acts."""

    def __init__(self, like: Scaled) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros_like(like.scale))

    def forward(self, bias: Tensor) -> Tensor:
        """The shifted bias."""
        return bias + self.shift


def _scaled_tensor(module: nn.Module) -> str | None:
    """The tensor of a layer that a scale of its output channels multiplies; None if nothing of it is left to scale."""
    if not is_standardised(module):
        return "weight"
    return "gain" if isinstance(getattr(module, "gain", None), Tensor) else None


def build(options: SsfOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """A scale and a shift in every layer and norm."""
    own, prunable = backbone.own(), list[str]()
    layers = {
        name: module
        for name, module in used_modules(own.model, used_parameters(backbone))
        if isinstance(module, (nn.Linear, nn.Conv2d, *NORMS)) and module.weight is not None
    }
    without_bias = [module for module in layers.values() if module.bias is None]
    for layer in without_bias:
        layer.bias = nn.Parameter(layer.weight.new_zeros(len(layer.weight)), requires_grad=False)
    read = used_parameters(own)  # some models keep a layer's bias elsewhere and never read its own
    for name, module in layers.items():
        at, place = f"{name}.parametrizations", _scaled_tensor(module)
        scaled = Scaled(len(module.weight)).to(module.weight.device)  # to register it is to run it
        if place is not None:
            register_parametrization(module, place, scaled)
            prunable.append(f"{at}.{place}.0.scale")
        if f"{name}.bias" in read:
            register_parametrization(module, "bias", ScaledAndShifted(scaled) if place else Shifted(scaled))
            prunable.append(f"{at}.bias.0.shift")
        elif module in without_bias:
            module.bias = None
    return tuned(own, num_classes, generator, prunable=prunable)


SSF = Method(
    name="ssf",
    options=SsfOptions,
    build=build,
    is_prunable=True,
    brings="scales and shifts of its layers",
)
