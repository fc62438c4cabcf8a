"""What a study file says about data: the `data` section, and the modifiers of a dataset entry.

`data.find` receives the section beside a `DatasetConfig`; nothing in it changes what an experiment is. The modifiers
do: they are part of the identity.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lion_ray.config.base import Frozen


class DataConfig(Frozen):
    """`root`: the URL below which `lion-ray data build` has put the catalogue's sets, one folder each."""

    root: str | None = Field(default=None, min_length=1)


class ImbalanceConfig(Frozen):
    """A long tail: the first class keeps `ratio` times as many training images as the last."""

    kind: Literal["exponential"] = "exponential"
    ratio: float = Field(gt=1)


class LabelNoiseConfig(Frozen):
    """`rate` of the training labels become one of the other classes, each as likely."""

    kind: Literal["symmetric"] = "symmetric"
    rate: float = Field(gt=0, le=1)
