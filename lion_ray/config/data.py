"""The `data` section of a study file: where built datasets lie, and what happens to an image that cannot be decoded.

`data.find` receives it beside a `DatasetConfig`. Of it only an image that is skipped changes what an experiment is.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lion_ray.config.base import Frozen


class DataConfig(Frozen):
    """`root`: the URL below which `lion-ray data build` has put the catalogue's sets, one folder each.

    `on_bad_image: skip` leaves out images that cannot be decoded, and says how many; by default the first is an error.
    """

    root: str | None = Field(default=None, min_length=1)
    on_bad_image: Literal["error", "skip"] = "error"
