"""The images of one split before they are decoded. A `Split` that decodes later, perhaps on another node, holds them.

`lion_ray.data.source` makes one `EncodedImages` per split; `storage`, `mapping` and `streaming` decode it. A fault of
an image becomes a `StudyError` here.
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
from lion_ray.data.item import BadData, map_ordered
from lion_ray.data.pool import Pool


@dataclass(frozen=True, kw_only=True)
class EncodedImages:
    """The encoded images of a split.

    Attributes:
        pool: the pool that holds the images.
        indices: (N,) indices in the pool, in the split's order.
        resize: size and interpolation.
        origin, key: the study file and the dataset's key in it, for messages.
    """

    pool: Pool
    indices: Rows
    resize: Resize
    origin: str
    key: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape (N, S, S, 3) of the decoded images."""
        return (len(self.indices), self.resize.size, self.resize.size, 3)

    def decode_into(self, images: Pixels, num_threads: int | None = None) -> None:
        """Decode all images into `images`, an array of `shape`. None uses all cores of this process.

        Raises:
            StudyError: an image is missing or broken; the message names file and row.
        """
        places = np.argsort(self.indices)  # the source is read in its own order
        items = self.pool.items(self.indices[places].tolist())
        with as_study_error(self.origin, self.key):
            decode_into(images, items, places.tolist(), self.resize, num_threads=num_threads)

    def decoded(self, rows: Rows, num_threads: int | None = None) -> Iterator[Pixels]:
        """Decode the images at `rows` one by one, in this order. Rows and their pool indices ascend.

        Raises:
            StudyError: an image is missing or broken.
        """
        indices = self.indices[rows]
        assert bool((np.diff(indices) > 0).all())
        with as_study_error(self.origin, self.key):
            for _, pixels in map_ordered(
                self.pool.items(indices.tolist()), partial(pixels_of, resize=self.resize), num_threads
            ):
                yield pixels


@contextmanager
def as_study_error(origin: str, key: str) -> Iterator[None]:
    """Convert a `BadData` of the block to a `StudyError` about the key `key` of the study file `origin`."""
    try:
        yield
    except BadData as error:
        raise StudyError(origin, key, str(error)) from error
