"""The `data` section of a study file: where sets lie, built and decoded. Nothing in it changes what an experiment is.

`data.find` receives it beside a `DatasetConfig`, `sweep` decides by it what is kept in memory.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lion_ray.config.base import Frozen


class DataConfig(Frozen):
    """`root`: the URL below which `lion-ray data build` has put the catalogue's sets, one folder each.

    `memory_gb` is how much of each node's object store decoded images may take (None: half of the smallest one);
    `cache` is the folder on each node where training images beyond it lie (None: below its `TMPDIR`).
    """

    root: str | None = Field(default=None, min_length=1)
    memory_gb: Annotated[float, Field(ge=0)] | None = None
    cache: str | None = Field(default=None, min_length=1)
