"""Mid-level maps of a frozen backbone beside its pooled features: what LION's output prompt may read (`output.source`).

Features and maps travel as one row per image, so that what is frozen is computed once and cached like any features.
Every map is averaged to one grid and normalised over its channels at each place (no statistics of a data set).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lion_ray.backbones.frozen import Backbone
from lion_ray.backbones.pooling import averaged, resized


class NoSuchMaps(ValueError):
    """The backbone shows no maps, or not these."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Maps:
    """The maps `stages` (indices into timm's intermediates), each on `grid` x `grid` places; -1 is the last map.

    `stages` is empty for the image itself: its `cell` x `cell` patches, so many that the grid's places see all of it.
    """

    stages: tuple[int, ...]
    grid: int

    def read(self, backbone: Backbone, images: Tensor) -> Tensor:
        """Normalised images (B, 3, S, S) to rows (B, D + C g g): pooled features, then the maps (C, g, g)."""
        if not self.stages:
            return torch.cat([backbone(images), self._image(images).flatten(1)], 1)
        model: Any = backbone.model
        # Hiera would stop behind the last map that is asked for, and its features come from behind the last block
        final, maps = model.forward_intermediates(images, indices=sorted(self._indices(backbone)), stop_early=False)
        features: Tensor = model.forward_head(final, pre_logits=True)
        return torch.cat([features, *(self._placed(each).flatten(1) for each in maps)], 1)

    def num_channels(self, backbone: Backbone) -> int:
        """C, all maps together.

        Raises:
            NoSuchMaps: the backbone shows no maps, or not these.
        """
        if not hasattr(backbone.model, "forward_intermediates"):
            raise NoSuchMaps("timm shows no maps of it; use source: pooled or image")
        size = backbone.transform.size
        with torch.no_grad():
            row = self.read(backbone, torch.zeros(1, 3, size, size, device=next(backbone.parameters()).device))
        return (row.shape[1] - backbone.num_features) // self.grid**2

    def _indices(self, backbone: Backbone) -> list[int]:
        number = num_maps(backbone)
        wrong = [stage for stage in self.stages if not -number <= stage < number]
        if wrong:
            raise NoSuchMaps(f"stages: {wrong[0]} is not one of the {number} maps of {backbone.name}")
        return [stage % number for stage in self.stages]

    def _placed(self, each: Tensor) -> Tensor:
        on_grid = averaged(each.float(), self.grid).permute(0, 2, 3, 1)
        return F.layer_norm(on_grid, on_grid.shape[-1:]).permute(0, 3, 1, 2)

    def _image(self, images: Tensor) -> Tensor:
        """Patches of the image as channels: (B, 3 p p, g, g)."""
        patch = -(-images.shape[-1] // self.grid)
        whole = resized(images.float(), patch * self.grid)
        return F.pixel_unshuffle(whole, patch)


def num_maps(backbone: Backbone) -> int:
    """How many maps timm shows of a backbone: its stages, or its blocks."""
    model: Any = backbone.model
    return len(model.feature_info)


def middle(backbone: Backbone) -> tuple[int, ...]:
    """Two mid-level maps: those in front of the last stage, or a half and three quarters through the blocks."""
    number = num_maps(backbone)
    return (number - 3, number - 2) if number < 8 else (number // 2 - 1, number * 3 // 4 - 1)
