"""The border to timm's constructors: whatever one raises of its own is that backbone's fault, told in one line."""

from __future__ import annotations

from typing import Any

from torch import nn


class Unmakeable(Exception):
    """timm's constructor has failed."""


def created_by_timm(name: str, pretrained: bool, options: dict[str, Any]) -> nn.Module:
    """A timm model; what its weights raise stays what it is.

    Args:
        options: what the constructor takes.
    """
    import timm

    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **options)
    except (OSError, ValueError, LookupError, ImportError, TypeError):
        raise
    except Exception as error:
        if pretrained and isinstance(error, RuntimeError):
            raise
        raise Unmakeable(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ")) from error
    return model
