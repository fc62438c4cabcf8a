"""AdaptFormer: a small bottleneck beside the MLP of every block (Chen et al., NeurIPS 2022, equations 2 and 3).

    x + MLP(LN(x)) + s · up(ReLU(down(LN(x))))

`up` starts at zero, `down` uniform in ±1/√D (Kaiming's, as theirs); bottleneck 64 and s = 0.1 are theirs. The weights
are prunable, the biases are not.

Where the paper and its code (ShoufaChen/AdaptFormer) differ, we take the paper: its adapter reads LN(x), the code's
reads x itself (`adaptmlp(x)`, with `ffn_adapter_layernorm_option="none"` in `main_image.py`). LN is the block's own
frozen norm; we add none. Where a block has its norm behind the MLP (Swin V2), its MLP reads x, and so does the adapter.
The code drops out 0.1 of the bottleneck in training; we drop nothing. The code adds the adapter's output behind
stochastic depth; here, where a backbone scales the MLP's output per channel, it scales the adapter's with it. The code
has a batch norm without weights in front of the classifier; we have none.
"""

from __future__ import annotations

from typing import Any

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
    used_modules,
    used_parameters,
)


class AdapterOptions(Frozen):
    """The units of every bottleneck and the factor of its output."""

    bottleneck: int = Field(default=64, ge=1, description="Units of every adapter.")
    scale: float = Field(default=0.1, gt=0, description="Factor of its output.")


class Adapter(nn.Module):
    """`mlp(x) + scale · up(relu(down(x)))`, channels last or first as `mlp` has them."""

    def __init__(self, mlp: nn.Module, like: Pointwise, options: AdapterOptions, generator: torch.Generator) -> None:
        super().__init__()
        width = sizes(like)[0]
        self.mlp, self.scale = mlp, options.scale
        self.down, self.up = _layer(like, width, options.bottleneck), _layer(like, options.bottleneck, width)
        with torch.no_grad():
            self.down.weight.uniform_(-(width**-0.5), width**-0.5, generator=generator)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The block's MLP, with what else it is told (such as the grid of its tokens), and the adapter beside it."""
        out: Tensor = self.mlp(x, *args, **kwargs) + self.scale * self.up(self.down(x).relu())
        return out

    def acting(self) -> dict[str, Tensor]:
        """A unit acts where both its input and its output weights have something left; else it is a constant."""
        down, up = self.down.weight, self.up.weight
        units = (down != 0).flatten(1).any(1) & (up != 0).flatten(1).any(0)  # a convolution's kernels are of one pixel
        rest = [1] * (down.dim() - 2)
        return {
            "down.weight": units.view(-1, 1, *rest).expand(down.shape),
            "down.bias": units,
            "up.weight": units.view(1, -1, *rest).expand(up.shape),
        }


def _layer(like: Pointwise, num_in: int, num_out: int) -> Pointwise:
    """A layer of the kind of `like`, all zeros."""
    made = nn.Linear(num_in, num_out) if isinstance(like, nn.Linear) else nn.Conv2d(num_in, num_out, 1)
    for parameter in made.parameters():
        nn.init.zeros_(parameter)
    return made


def build(options: AdapterOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """An adapter beside every MLP."""
    own, prunable = backbone.own(), list[str]()
    for name, mlp in used_modules(own.model, used_parameters(backbone)):
        layers = list(pointwise_layers(mlp).values())
        if name.endswith(".mlp") and layers and sizes(layers[0])[0] == sizes(layers[-1])[1]:
            replace(own.model, name, Adapter(mlp, layers[0], options, generator))
            prunable += [f"{name}.down.weight", f"{name}.up.weight"]
    if not prunable:
        raise NotApplicable("adapters stand beside the MLPs of blocks, and it has none; use bias or ssf")
    return tuned(own, num_classes, generator, prunable=prunable)


ADAPTER = Method(
    name="adapter",
    options=AdapterOptions,
    build=build,
    is_prunable=True,
    brings="adapters beside its MLPs",
)
