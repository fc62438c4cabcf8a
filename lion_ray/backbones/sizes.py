"""Which image sizes a backbone takes, where it does not take the one that a study asks for."""

from __future__ import annotations

import logging

import torch

from lion_ray.backbones.frozen import sketch
from lion_ray.config import BackboneConfig

LOGGER = logging.getLogger(__name__)


def sizes_that_do(config: BackboneConfig) -> str:
    """The nearest image sizes below and above at which the backbone runs, for a message; empty if none is near."""
    asked = config.image_size
    if asked is None:
        return ""
    near = sorted({step * (asked // step + k) for step in (16, 14, 32) for k in range(-3, 5)} - {asked})
    sides = ([size for size in reversed(near) if 16 <= size < asked], [size for size in near if size > asked])
    found = [next((size for size in side if _does(config, size)), None) for side in sides]
    told = " and ".join(str(size) for size in found if size is not None)
    return f"; backbone.image_size {told} would do" if told else ""


def _does(config: BackboneConfig, size: int) -> bool:
    try:
        backbone = sketch(config.model_copy(update={"image_size": size}))
        with torch.no_grad():
            backbone(torch.zeros(1, 3, size, size))
    except Exception:
        LOGGER.debug("%s at %s px", config.name, size, exc_info=True)
        return False
    return True
