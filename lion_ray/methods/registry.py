"""What a method is to the rest of the project: a name, typed options and a builder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

import torch

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel


def no_objection(options: Any) -> tuple[str, str] | None:
    """Whatever the options, a study may ask for them."""
    return None


class Build(Protocol):
    """Makes the model at step 0; every random draw comes from `generator`."""

    def __call__(
        self, options: Any, backbone: Backbone, num_classes: int, generator: torch.Generator
    ) -> AdaptedModel: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """One way to adapt a frozen backbone.

    `brings`: what it puts into or around a backbone, for the line that says that a backbone does not run with it.
    `objection`: the option that a study must not give such a value, although a ticket may have it, and why.
    """

    name: str
    options: type[Frozen]
    build: Build
    is_prunable: bool
    brings: str
    objection: Callable[[Any], tuple[str, str] | None] = no_objection
