"""What a reader finds: labels in memory, images still encoded and read one by one.

Every reader (`readers`, `packages`) gives a `FoundSet`; `source` plans the splits over its pools and `decoding` turns
the chosen items into pixels. `BadData` is a fault in the data itself; `source` adds the study file and the dataset
to its message.
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
"""The one pool of a set whose source names no splits."""


class Pool(Protocol):
    """One split, or the one pool, of a set as its source orders it."""

    @property
    def labels(self) -> Labels:
        """Shape (N,), read-only, each in 0..classes-1."""

    def items(self, indices: Sequence[int]) -> Iterator[EncodedImage]:
        """The images at `indices` (ascending), in that order."""


@dataclass(frozen=True, kw_only=True)
class FoundSet:
    """A set as found: `pools` holds `pool` alone, or `train` and perhaps `val` and `test`.

    `skipped` counts the images that were left out of a pool because they are bad (see `skipping`); `known` is the
    fingerprint of a built set, which its manifest holds: then nothing is read for it. `notes` say how the source was
    read, and what of it was not used (see `account`).
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
        """Digest and encoding of all that was found: reads every image once, unless it is `known`."""
        if self.known is not None:
            return self.known
        parts = {name: (pool.items(range(len(pool.labels))), pool.labels) for name, pool in self.pools.items()}
        return fingerprint(parts)


@dataclass(frozen=True, kw_only=True)
class ArrayPool:
    """Images that the source stores as pixels: (N, H, W) or (N, H, W, 3) uint8. `name` is for messages."""

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
    """One file per image. `names` are for messages: the path below the root, and the list and line that name it."""

    files: tuple[Readable, ...]
    names: tuple[str, ...]
    labels: Labels

    def items(self, indices: Sequence[int]) -> Iterator[EncodedImage]:
        """See `Pool.items`; a file is read by whoever loads the item, so reading runs on many threads."""
        for index in indices:
            yield EncodedImage(index=index, where=self.names[index], load=self.files[index].read)


def frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`array` itself, made read-only: a cached array that is normalised in place drifts over the epochs."""
    array.flags.writeable = False
    return array


def as_labels(values: Any) -> Labels:
    """A read-only int64 copy of `values`."""
    return frozen(np.array(values, dtype=np.int64))


def check_labels(labels: Labels, num_classes: int, where: Callable[[int], str]) -> None:
    """Raise `BadData` at the first label outside 0..num_classes-1."""
    bad = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(bad):
        index = int(bad[0])
        raise BadData(f"{where(index)}: label {labels[index]} is outside 0..{num_classes - 1}")
