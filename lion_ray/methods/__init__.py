"""The methods, one file each: what is trained, what is prunable, which options they take."""

from __future__ import annotations

import torch

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen, MethodConfig, StudyError, nearest, validate
from lion_ray.methods.linear import LINEAR
from lion_ray.methods.lion import LION
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.registry import Method

METHODS = {method.name: method for method in (LINEAR, LION)}

__all__ = ["METHODS", "AdaptedModel", "Method", "build", "options_of"]


def options_of(config: MethodConfig, *, source: str = "study", key: str = "methods") -> Frozen:
    """The typed options of a method as a study gives them.

    Raises:
        StudyError: unknown method, unknown option, or a value that is not allowed.
    """
    if config.name not in METHODS:
        raise StudyError(source, key, f"unknown method '{config.name}'; {nearest(config.name, METHODS)}")
    return validate(METHODS[config.name].options, config.options, source=source, key=key)


def build(config: MethodConfig, backbone: Backbone, *, num_classes: int, seed: int) -> AdaptedModel:
    """The model at step 0; `seed` fixes every random draw."""
    generator = torch.Generator().manual_seed(seed)
    return METHODS[config.name].build(options_of(config), backbone, num_classes, generator)
