"""A learned border around the image: visual prompts for ConvNets (Jia et al., ECCV 2022, *Pad*).

An image of S pixels becomes one of S + 2 `width`. The border starts as uniform random pixels, as VPT's, and is trained
in normalised values; all of it is prunable, and a pruned value is the mean colour. The default width is ours.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from lion_ray.backbones import Backbone, Transform
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel, Body, Head
from lion_ray.methods.prompt import Prompt
from lion_ray.methods.registry import Method, always
from lion_ray.methods.tuning import NotApplicable


class PadOptions(Frozen):
    """The border's width in pixels, on each side."""

    width: int = Field(default=4, ge=1, description="Pixels of the border.")


class Border(Prompt):
    """Images (B, 3, S, S) with a border: `rows` (3, 2w, S + 2w) above and below, `columns` (3, S, 2w) beside them."""

    def __init__(self, width: int, transform: Transform, generator: torch.Generator) -> None:
        super().__init__()
        size, self.width = transform.size, width
        mean, std = (torch.tensor(value).view(3, 1, 1) for value in (transform.mean, transform.std))
        shapes = (3, 2 * width, size + 2 * width), (3, size, 2 * width)
        rows, columns = ((torch.rand(shape, generator=generator) - mean) / std for shape in shapes)
        self.rows, self.columns = nn.Parameter(rows), nn.Parameter(columns)

    def forward(self, x: Tensor) -> Tensor:
        """The larger images."""
        rows, columns = (border.to(x.dtype).expand(x.shape[0], -1, -1, -1) for border in (self.rows, self.columns))
        x = torch.cat([columns[..., : self.width], x, columns[..., self.width :]], dim=3)
        return torch.cat([rows[:, :, : self.width], x, rows[:, :, self.width :]], dim=2)

    def prunable(self) -> tuple[str, ...]:
        """Every pixel."""
        return "rows", "columns"


def build(options: PadOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The border before the frozen backbone."""
    if hasattr(backbone.model, "patch_embed"):
        size = backbone.transform.size
        raise NotApplicable(f"it takes {size} x {size} pixels only, and a border makes them more; it is for ConvNets")
    border = Border(options.width, backbone.transform, generator)
    return AdaptedModel(Body(backbone, border), Head(Prompt(), backbone.num_features, num_classes, generator))


VPT_PAD = Method(name="vpt_pad", options=PadOptions, build=build, is_prunable=True, may_not_apply=always)
