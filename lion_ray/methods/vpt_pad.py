"""A learned border around the image: visual prompts for ConvNets (Jia et al., ECCV 2022, *Pad*).

An image of S pixels becomes one of S + 2 `width`. All of it is prunable, and a pruned value is the mean colour.

What differs from the code (KMnP/vpt, `resnet.py`): both start as uniform random pixels in 0 to 1, but the code trains
those and normalises them in each pass, by ImageNet's mean and deviation; we train normalised values, by the backbone's.
The code's default width is 5 (`NUM_TOKENS`); 4 is ours.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from lion_ray.backbones import Backbone, Transform
from lion_ray.config import Frozen
from lion_ray.methods.foreign import Failed, border, is_of_memory
from lion_ray.methods.model import AdaptedModel, Body, Head
from lion_ray.methods.prompt import Prompt
from lion_ray.methods.registry import Method
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
        rows, columns = (side.to(x.dtype).expand(x.shape[0], -1, -1, -1) for side in (self.rows, self.columns))
        x = torch.cat([columns[..., : self.width], x, columns[..., self.width :]], dim=3)
        return torch.cat([rows[:, :, : self.width], x, rows[:, :, self.width :]], dim=2)

    def prunable(self) -> tuple[str, ...]:
        """Every pixel."""
        return "rows", "columns"


def build(options: PadOptions, backbone: Backbone, num_classes: int, generator: torch.Generator) -> AdaptedModel:
    """The border before the frozen backbone."""
    _check_takes(backbone, backbone.transform.size + 2 * options.width)
    prompt = Border(options.width, backbone.transform, generator)
    return AdaptedModel(Body(backbone, prompt), Head(Prompt(), backbone.num_features, num_classes, generator))


def _check_takes(backbone: Backbone, size: int) -> None:
    """Run the frozen backbone on an image of `size` pixels; raises NotApplicable where it does not take them."""
    own = backbone.transform.size
    try:
        with border(), torch.no_grad():
            backbone(torch.zeros(1, 3, size, size, device=next(backbone.parameters()).device))
    except Failed as error:
        if is_of_memory(error):
            raise
        raise NotApplicable(
            f"it does not take {size} x {size} pixels, which the border makes of {own} x {own}; it is for ConvNets"
        ) from error


VPT_PAD = Method(
    name="vpt_pad",
    options=PadOptions,
    build=build,
    is_prunable=True,
    brings="a learned border around the image",
)
