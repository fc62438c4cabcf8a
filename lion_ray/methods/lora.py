"""LoRA: a low-rank change of every linear layer in attention and MLPs (Hu et al., ICLR 2022).

    W x + (alpha / r) B A x

`B` starts at zero, `A` uniform in ±1/√D. Rank and alpha 8 are peft's defaults. All of A and B is prunable. Not `peft`:
it draws from torch's global generator, and takes no backbone whose attention reads `qkv.weight` itself (BEiT, Swin V2).
With the same A and B on ViT-Ti/16, outputs and gradients were those of peft 0.21.2 bit for bit (checked by hand).

Which layers: the paper freezes the MLPs and changes attention alone, mostly queries and values; we change all of
both. Start: the paper draws A from a Gaussian, its code (microsoft/LoRA, `loralib`) uniformly as we do. Fused
queries, keys and values: `loralib` has an A and a B for each part that is changed (`MergedLinear`), we have one of
each for the fused layer, as peft has. `loralib` starts at alpha 1, and can drop out the layer's input; we never do.
Biases stay frozen, as by `loralib`'s default.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.registry import Method
from lion_ray.methods.tuning import (
    NotApplicable,
    Pointwise,
    pointwise_layers,
    replace,
    sizes,
    tuned,
    uniform,
    used_modules,
    used_parameters,
)


class LoraOptions(Frozen):
    """The rank of every change, and `alpha`: the change is scaled by alpha / rank."""

    rank: int = Field(default=8, ge=1, description="Of every change.")
    alpha: float = Field(default=8.0, gt=0, description="The change is scaled by alpha / rank.")


class LowRank(nn.Module):
    """A linear layer or 1x1 convolution with a low-rank change: `A` (r, in), `B` (out, r)."""

    def __init__(self, layer: Pointwise, options: LoraOptions, generator: torch.Generator) -> None:
        super().__init__()
        num_in, num_out = sizes(layer)
        self.layer, self.scale = layer, options.alpha / options.rank
        self.A = uniform((options.rank, num_in), num_in**-0.5, generator)
        self.B = nn.Parameter(torch.zeros(num_out, options.rank))

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output and the change."""
        if isinstance(self.layer, nn.Linear):
            change = nn.functional.linear(nn.functional.linear(x, self.A), self.B)
        else:
            at_a_pixel = nn.functional.conv2d(x, self.A[:, :, None, None], stride=self.layer.stride)
            change = nn.functional.conv2d(at_a_pixel, self.B[:, :, None, None])
        out: Tensor = self.layer(x) + self.scale * change
        return out

    def acting(self) -> dict[str, Tensor]:
        """A rank acts where both its row of A and its column of B have something left."""
        ranks = (self.A != 0).any(1) & (self.B != 0).any(0)
        return {"A": ranks[:, None].expand(self.A.shape), "B": ranks.expand(self.B.shape)}

    @property
    def weight(self) -> Tensor:
        """The changed weight, for backbones that use it themselves."""
        return self.layer.weight + (self.scale * self.B @ self.A).view_as(self.layer.weight)

    @property
    def bias(self) -> Tensor | None:
        """The layer's."""
        return self.layer.bias


def build(options: LoraOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """A low-rank change in every linear layer of attention and MLPs."""
    own, prunable = backbone.own(), list[str]()
    pointwise = pointwise_layers(own.model)
    for name, _ in used_modules(own.model, used_parameters(backbone)):
        if name in pointwise and _is_of_attention_or_mlp(own.model, name):
            replace(own.model, name, LowRank(pointwise[name], options, generator))
            prunable += [f"{name}.A", f"{name}.B"]
    if not prunable:
        raise NotApplicable("lora changes linear layers of attention and MLPs, and it has none; use ssf or partial")
    return tuned(own, num_classes, generator, prunable=prunable)


def _is_of_attention_or_mlp(model: nn.Module, name: str) -> bool:
    """By timm's names; a module called `attn` without heads is a gate of channels (squeeze-excite) and no attention."""
    parts = name.split(".")
    if "mlp" in parts:
        return True
    if "attn" not in parts:
        return False
    attention = model.get_submodule(".".join(parts[: parts.index("attn") + 1]))
    return any(hasattr(attention, heads) for heads in ("num_heads", "n_heads", "heads"))


LORA = Method(
    name="lora",
    options=LoraOptions,
    build=build,
    is_prunable=True,
    brings="low-rank changes of its linear layers",
)
