"""The methods, one file each: what is trained, what is prunable, which options they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen, MethodConfig, StudyError, nearest, validate
from lion_ray.methods.adapter import ADAPTER
from lion_ray.methods.bias import BIAS
from lion_ray.methods.full import FULL
from lion_ray.methods.linear import LINEAR
from lion_ray.methods.lion import LION
from lion_ray.methods.lora import LORA
from lion_ray.methods.merging import merge_
from lion_ray.methods.model import AdaptedModel, contiguous_copy
from lion_ray.methods.partial import PARTIAL
from lion_ray.methods.registry import Method
from lion_ray.methods.ssf import SSF
from lion_ray.methods.stepping import losses, step_module
from lion_ray.methods.tuning import NotApplicable
from lion_ray.methods.vpt_deep import VPT_DEEP
from lion_ray.methods.vpt_pad import VPT_PAD
from lion_ray.methods.vpt_shallow import VPT_SHALLOW

_ALL = (LINEAR, LION, FULL, PARTIAL, BIAS, VPT_SHALLOW, VPT_DEEP, VPT_PAD, ADAPTER, LORA, SSF)
METHODS = {method.name: method for method in _ALL}

__all__ = [
    "METHODS",
    "AdaptedModel",
    "Method",
    "NotApplicable",
    "build",
    "check",
    "contiguous_copy",
    "losses",
    "merge_",
    "options_of",
    "step_module",
]


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


def check(configs: Sequence[MethodConfig], make_backbone: Callable[[], Backbone], *, source: str = "study") -> None:
    """Run each method that may not apply once on one image, there and back, before a study starts.

    Raises:
        StudyError: wrong options, a backbone to which the idea does not apply, or a tensor that would never learn.
    """
    backbone, seen = None, set[tuple[str, str]]()
    for index, config in enumerate(configs):
        options = options_of(config, source=source, key=f"methods.{index}")
        named = (config.name, options.model_dump_json())
        if METHODS[config.name].may_not_apply(options) and named not in seen:
            seen.add(named)
            backbone = backbone or make_backbone()
            if problem := _problem(config, backbone):
                raise StudyError(source, f"methods.{index}", problem)


def _problem(config: MethodConfig, backbone: Backbone) -> str | None:
    """Why the method cannot be had on this backbone, in one line."""
    size = backbone.transform.size
    try:
        model = build(config, backbone, num_classes=2, seed=0)
        model(torch.zeros(1, 3, size, size)).sum().backward()
    except NotApplicable as reason:
        return f"'{config.name}' does not apply to {backbone.name}: {reason}"
    except (RuntimeError, AssertionError, AttributeError, TypeError, ValueError) as error:
        return f"'{config.name}' cannot be run on {backbone.name}: {' '.join(str(error).split())[:300]}"
    unreached = [name for name, parameter in model.trained().items() if parameter.grad is None]
    if unreached:
        return f"'{config.name}' does not apply to {backbone.name}: it would never train {', '.join(unreached[:3])}"
    return None
