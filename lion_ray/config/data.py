"""What a study file says about data: the `data` section, and the modifiers of a dataset entry.

`data.find` receives the section beside a `DatasetConfig`; of it only an image that is skipped changes what an
experiment is. The modifiers do: they are part of the identity.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lion_ray.config.base import Frozen, Place


class DataConfig(Frozen):
    """`root`: the URL below which `lion-ray data build` has put the catalogue's sets, one folder each.

    `on_bad_image: skip` leaves out images that cannot be decoded, and says how many; by default the first is an error.
    `memory_gb` is how much of each node's object store decoded images may take (None: half of the smallest one);
    `cache` is the folder on each node where training images beyond it lie (None: below its `TMPDIR`).
    """

    root: Place | None = Field(default=None, min_length=1)
    on_bad_image: Literal["error", "skip"] = "error"
    memory_gb: Annotated[float, Field(ge=0)] | None = None
    cache: Place | None = Field(default=None, min_length=1)


class ImbalanceConfig(Frozen):
    """A long tail: the first class keeps `ratio` times as many training images as the last."""

    kind: Literal["exponential"] = "exponential"
    ratio: float = Field(gt=1)


class LabelNoiseConfig(Frozen):
    """`rate` of the training labels become one of the other classes, each as likely."""

    kind: Literal["symmetric"] = "symmetric"
    rate: float = Field(gt=0, le=1)
