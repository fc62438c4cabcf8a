"""Small image sets on any URL, no two of whose images are alike."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from lion_ray.config import DatasetConfig
from lion_ray.data import Source, find
from lion_ray.store import write_url

CLASSES = ("ant", "bee", "cat")
SIZES = {"train": 30, "val": 9, "test": 12}


def pixels(number: int, *, side: int = 12) -> npt.NDArray[np.uint8]:
    """RGB of `side` + `number` % 5 columns; every number has its own."""
    shape = (side, side + number % 5, 3)
    return np.random.default_rng(number).integers(0, 256, size=shape, dtype=np.uint8)


def encoded(number: int, format: str = "png", *, side: int = 12) -> bytes:
    """The same as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels(number, side=side)).save(file, format)
    return file.getvalue()


def write_folder(root: str, *, sizes: Mapping[str, int] = SIZES, format: str = "png", side: int = 12) -> None:
    """An image folder with these splits, its classes taking turns."""
    first = 0
    for split, size in sizes.items():
        for number in range(first, first + size):
            path = f"{split}/{CLASSES[number % len(CLASSES)]}/{number:05d}.{format}"
            write_url(f"{root}/{path}", encoded(number, format, side=side))
        first += size


def look(url: str) -> Source:
    """The set at a URL."""
    return find(DatasetConfig(name="mine", url=url), source="my.yaml")
