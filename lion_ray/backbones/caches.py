"""What a timm module remembers in evaluation mode of tensors that may be trained or loaded later.

LeViT, TinyViT, EfficientFormer and others index their attention biases once per device and keep the result, as long as
they are in evaluation mode. Our backbones always are, so a step would go on with biases of the step before it.
"""

from __future__ import annotations

from typing import Any

from torch import nn


def forget_caches(model: nn.Module) -> None:
    """Let every module that keeps such a cache begin each forward pass without it."""
    for module in model.modules():
        if _caches_of(module):
            module.register_forward_pre_hook(_forget)


def clear_caches(model: nn.Module) -> None:
    """Empty all such caches: what they keep of a step belongs to its graph and cannot be copied."""
    for module in model.modules():
        _forget(module, None)


def _forget(module: nn.Module, _: Any) -> None:
    for cache in _caches_of(module):
        cache.clear()


def _caches_of(module: nn.Module) -> list[dict[Any, Any]]:
    return [value for name, value in vars(module).items() if "cache" in name and isinstance(value, dict)]
