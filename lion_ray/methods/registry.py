"""What a method is to the rest of the project: a name, typed options and a builder."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import torch

from lion_ray.backbones import Backbone
from lion_ray.config import Frozen
from lion_ray.methods.model import AdaptedModel


class Build(Protocol):
    """Makes the model at step 0; every random draw comes from `generator`."""

    def __call__(
        self, options: Any, backbone: Backbone, num_classes: int, generator: torch.Generator
    ) -> AdaptedModel: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """One way to adapt a frozen backbone. `may_not_apply`: `check` has to ask of each backbone whether it does."""

    name: str
    options: type[Frozen]
    build: Build
    is_prunable: bool
    may_not_apply: bool = False
