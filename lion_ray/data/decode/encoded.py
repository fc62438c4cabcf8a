"""The images of one split before they are decoded: what a `Split` that decodes later, perhaps on another node, holds.

`source` makes one per split; `cache` and `streaming` decode it. Faults of an image become the study's error here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from lion_ray.config import StudyError
from lion_ray.data.dataset import Pixels, Rows
from lion_ray.data.decode.decoding import Resize, decode_into, pixels_of
from lion_ray.data.item import BadData, ordered
from lion_ray.data.pool import Pool


@dataclass(frozen=True, kw_only=True)
class EncodedImages:
    """`indices` of `pool`, in the split's order, and how they are resized; `origin` and `key` are for messages."""

    pool: Pool
    indices: Rows
    resize: Resize
    origin: str
    key: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of all images, decoded."""
        return (len(self.indices), self.resize.size, self.resize.size, 3)

    def decode_into(self, images: Pixels, num_threads: int | None = None) -> None:
        """Fill `images`, of `shape`.

        Raises:
            StudyError: an image is missing or broken; file and row are named.
        """
        places = np.argsort(self.indices)  # read in the source's order, place in the split's
        items = self.pool.items(self.indices[places].tolist())
        with blamed(self.origin, self.key):
            decode_into(images, items, places.tolist(), self.resize, num_threads=num_threads)

    def decoded(self, rows: Rows, num_threads: int | None = None) -> Iterator[Pixels]:
        """The images at `rows` one by one, read in this order: rows and what they stand for ascend.

        Raises:
            StudyError: as `decode_into`.
        """
        indices = self.indices[rows]
        assert bool((np.diff(indices) > 0).all())
        with blamed(self.origin, self.key):
            for _, pixels in ordered(
                self.pool.items(indices.tolist()), partial(pixels_of, resize=self.resize), num_threads
            ):
                yield pixels


@contextmanager
def blamed(origin: str, key: str) -> Iterator[None]:
    """Turn a fault of the data into a `StudyError` that begins with the study file and the dataset."""
    try:
        yield
    except BadData as error:
        raise StudyError(origin, key, str(error)) from error
