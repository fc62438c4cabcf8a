"""Frozen timm models, their weights, and the two seams between which every method works."""

from lion_ray.backbones.anatomy import classifier_parameters, parameters_by_block, without_effect
from lion_ray.backbones.caches import clear_caches
from lion_ray.backbones.folding import fold_batch_norm
from lion_ray.backbones.frozen import Backbone, in_one_line, load, sketch
from lion_ray.backbones.maps import Maps, NoSuchMaps, middle, num_maps
from lion_ray.backbones.outline import num_bytes, outline
from lion_ray.backbones.pooling import averaged
from lion_ray.backbones.sizes import sizes_that_do
from lion_ray.backbones.specimen import drawn_images, is_standardised, specimen
from lion_ray.backbones.staging import SHARED, Resolved, load_staged, marker, resolve, stage
from lion_ray.backbones.transform import Transform
from lion_ray.backbones.weights import read_state, state_digest

__all__ = [
    "SHARED",
    "Backbone",
    "Maps",
    "NoSuchMaps",
    "Resolved",
    "Transform",
    "averaged",
    "classifier_parameters",
    "clear_caches",
    "drawn_images",
    "fold_batch_norm",
    "in_one_line",
    "is_standardised",
    "load",
    "load_staged",
    "marker",
    "middle",
    "num_bytes",
    "num_maps",
    "outline",
    "parameters_by_block",
    "read_state",
    "resolve",
    "sizes_that_do",
    "sketch",
    "specimen",
    "stage",
    "state_digest",
    "without_effect",
]
