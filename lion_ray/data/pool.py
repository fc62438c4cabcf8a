"""`FoundSet` and its pools: a dataset as a reader found it, with labels in memory and images still encoded.

Every reader returns a `FoundSet`. A pool is one split of the source, or all its images if the source has no splits.
`source` plans the splits of a study over the pools, and `decode.decoding` turns the chosen images into pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lion_ray.data.files import Readable
from lion_ray.data.fingerprint import Fingerprint, Labels, fingerprint
from lion_ray.data.item import BadData, EncodedImage

POOL = "pool"
"""The name of the only pool if the source has no splits."""


class Pool(Protocol):
    """Labels and encoded images of one split of the source, in the source's order."""

    @property
    def labels(self) -> Labels:
        """Labels (N,) in 0..classes-1, read-only."""

    def items(self, indices: Sequence[int]) -> Iterator[EncodedImage]:
        """The images at `indices`, which ascend."""


@dataclass(frozen=True, kw_only=True)
class FoundSet:
    """A dataset as a reader found it.

    Attributes:
        classes: class names; a label is an index into them.
        pools: `pool` alone, or `train` and perhaps `val` and `test`.
        skipped: images that were left out of each pool because they cannot be decoded (see `select.skipping`).
        known: the fingerprint from the manifest of a built dataset; None if images must be read for it.
        notes: lines for the user on how the source was read and which files were not used (see `readers.notes`).
    """

    classes: tuple[str, ...]
    pools: Mapping[str, Pool]
    skipped: Mapping[str, int] = field(default_factory=dict)
    known: Fingerprint | None = None
    notes: tuple[str, ...] = ()

    @property
    def sizes(self) -> dict[str, int]:
        """Images in each pool."""
        return {name: len(pool.labels) for name, pool in self.pools.items()}

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digest and encoding of all images. Reads every image once, unless the fingerprint is `known`."""
        if self.known is not None:
            return self.known
        pools = {name: (pool.items(range(len(pool.labels))), pool.labels) for name, pool in self.pools.items()}
        return fingerprint(pools)


@dataclass(frozen=True, kw_only=True)
class ArrayPool:
    """A pool of pixels: `images` (N, H, W) or (N, H, W, 3) uint8. `name` is for messages."""

    images: npt.NDArray[np.uint8]
    labels: Labels
    name: str = ""

    def items(self, indices: Sequence[int]) -> Iterator[EncodedImage]:
        """See `Pool.items`."""
        for index in indices:
            where = f"{self.name}: row {index}" if self.name else f"row {index}"
            yield EncodedImage(index=index, where=where, load=partial(self.images.__getitem__, index))


@dataclass(frozen=True, kw_only=True)
class FilePool:
    """A pool with one file per image. `names` are for messages: the path, and the list and line that name it."""

    files: tuple[Readable, ...]
    names: tuple[str, ...]
    labels: Labels

    def items(self, indices: Sequence[int]) -> Iterator[EncodedImage]:
        """See `Pool.items`. `EncodedImage.read` reads the file, so reading runs in many threads."""
        for index in indices:
            yield EncodedImage(index=index, where=self.names[index], load=self.files[index].read)


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Mark `array` as read-only and return it. In-place normalisation of a cached array would drift over the epochs."""
    array.flags.writeable = False
    return array


def as_labels(values: Any) -> Labels:
    """A read-only int64 copy of `values`."""
    return read_only(np.array(values, dtype=np.int64))


def check_labels(labels: Labels, num_classes: int, where: Callable[[int], str]) -> None:
    """Raise `BadData` for the first label outside 0..num_classes-1.

    Args:
        labels: (N,) integers.
        num_classes: the number of classes.
        where: names the image at an index in the message.
    """
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(bad):
        index = int(bad[0])
        raise BadData(f"{where(index)}: label {labels[index]} is outside 0..{num_classes - 1}")
