"""Frozen timm models, their weights, and the two seams between which every method works."""

from lion_ray.backbones.folding import fold_batch_norm
from lion_ray.backbones.frozen import Backbone, load
from lion_ray.backbones.maps import Maps, middle, num_maps
from lion_ray.backbones.transform import Transform
from lion_ray.backbones.weights import read_state, state_digest

__all__ = [
    "Backbone",
    "Maps",
    "Transform",
    "fold_batch_norm",
    "load",
    "middle",
    "num_maps",
    "read_state",
    "state_digest",
]
