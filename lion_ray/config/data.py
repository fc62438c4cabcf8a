"""The `data` section of a study file: where built datasets lie. Nothing in it changes what an experiment is.

`data.find` receives it beside a `DatasetConfig`.
"""

from __future__ import annotations

from pydantic import Field

from lion_ray.config.base import Frozen


class DataConfig(Frozen):
    """`root`: the URL below which `lion-ray data build` has put the catalogue's sets, one folder each."""

    root: str | None = Field(default=None, min_length=1)
