"""A backbone's shapes without its numbers: what belongs to it can be told before anything is allocated or fetched."""

from __future__ import annotations

import functools

import torch

from lion_ray.backbones.folding import without_batch_norm
from lion_ray.backbones.frozen import Backbone, blank, in_one_line, transform_of
from lion_ray.config import BackboneConfig


def outline(config: BackboneConfig, *, source: str, is_folded: bool = True) -> Backbone:
    """The backbone on torch's device `meta`, with or without its batch normalisations. Cached.

    Raises:
        StudyError: unknown timm name.
    """
    shapes_only = config.model_copy(update={"weights": "random"})
    return in_one_line(functools.partial(_outlined, is_folded=is_folded), shapes_only, source)


def num_bytes(config: BackboneConfig, *, source: str) -> int:
    """How many bytes its state dict takes. Raises as `outline` does."""
    state = outline(config, source=source, is_folded=False).model.state_dict()
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


@functools.lru_cache(maxsize=8)
def _outlined(config: BackboneConfig, *, is_folded: bool) -> Backbone:
    with torch.device("meta"):
        model = blank(config).eval()
        shown = without_batch_norm(model) if is_folded else model
    return Backbone(shown, name=config.name, transform=transform_of(model, config), weights_digest="", unfolded=model)
