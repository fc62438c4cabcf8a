"""The methods, one file each: what is trained, what is prunable, which options they take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen, MethodConfig, StudyError, nearest, validate
from lion_ray.methods.adapter import ADAPTER
from lion_ray.methods.bias import BIAS
from lion_ray.methods.checking import Outcome, Trials, check_each, key_of, trial_digest
from lion_ray.methods.checking import outcomes as _outcomes
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
    "Outcome",
    "Trials",
    "build",
    "check",
    "contiguous_copy",
    "key_of",
    "losses",
    "merge_",
    "options_of",
    "outcomes",
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


def outcomes(
    configs: Mapping[int, MethodConfig], make_backbone: Callable[[], Backbone], advice: Callable[[], str] = str
) -> Iterator[Outcome]:
    """Try method entries on a backbone, in this process: see `checking`."""
    return _outcomes(
        configs,
        make_backbone,
        lambda config, made: build(config, made, num_classes=2, seed=0),
        advice=advice,
        brings=lambda name: METHODS[name].brings,
    )


def check(
    configs: Sequence[MethodConfig],
    trials: Trials,
    *,
    source: str = "study",
    backbone: Mapping[str, Any] | None = None,
    has_passed: Callable[[str], bool] = lambda digest: False,
    on_passed: Callable[[str], None] = lambda digest: None,
) -> None:
    """Have each method of a study tried on its backbone and one image, before anything starts: see `checking`.

    Args:
        trials: makes the trials that are left, such as `outcomes`.
        backbone: what names the backbone and its transform in the digest of a trial.
        has_passed, on_passed: ask for and write down the trials that have passed, by digest.

    Raises:
        StudyError: wrong options, a backbone that cannot be run or to which the idea does not apply, or a tensor that
            would never change anything.
    """

    def digest_of(config: MethodConfig) -> str:
        options = options_of(config, source=source, key=key_of(configs.index(config)))
        return trial_digest(config, options.model_dump(mode="json"), backbone or {})

    check_each(configs, trials, digest_of, source=source, has_passed=has_passed, on_passed=on_passed)
