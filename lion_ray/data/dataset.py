"""`Dataset` and `Split`: decoded images and labels for training and evaluation.

A `Split` hides where its pixels are kept. `ArraySplit` holds an array that all trials of a node share,
`decode.mapping.MappedSplit` maps a file of the node, and `decode.streaming.StreamedSplit` decodes on every pass. All
give the same pixels in the same order, so results do not depend on the choice. `source.Source.decode` makes them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lion_ray.data.fingerprint import Labels

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Split(ABC):
    """N images (N, S, S, 3) uint8 and their `labels` (N,) int64. Both are read-only."""

    labels: Labels

    def __post_init__(self) -> None:
        assert not self.labels.flags.writeable

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            if isinstance(value, np.ndarray):  # pickling a NumPy array drops its read-only flag
                value.flags.writeable = False
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def images(self) -> Pixels:
        """All pixels (N, S, S, 3), read-only. A streamed split decodes them now."""

    @abstractmethod
    def gather(self, rows: Rows) -> Pixels:
        """The images at `rows` (B,), in any order, as a new array (B, S, S, 3)."""

    @abstractmethod
    def chunks(self, rows: Rows, size: int, *, num_threads: int) -> Iterator[Pixels]:
        """The images at `rows` in chunks.

        Args:
            rows: (B,) rows of the split, ascending.
            size: images per chunk; the last chunk may be smaller.
            num_threads: threads for decoding, if images have to be decoded.

        Yields:
            Arrays (size, S, S, 3).
        """

    @abstractmethod
    def prepare(self) -> None:
        """Do the work of the first access now, such as writing a mapped file. It happens once per node."""


class IndexedSplit(Split):
    """A split whose `images` are one array that can be indexed."""

    def gather(self, rows: Rows) -> Pixels:
        """See `Split.gather`."""
        return self.images[rows]

    def chunks(self, rows: Rows, size: int, *, num_threads: int) -> Iterator[Pixels]:
        """See `Split.chunks`."""
        for first in range(0, len(rows), size):
            yield self.gather(rows[first : first + size])

    def prepare(self) -> None:
        """See `Split.prepare`."""
        assert len(self.images) == len(self)


@dataclass(frozen=True, kw_only=True)
class ArraySplit(IndexedSplit):
    """A split whose `pixels` (N, S, S, 3) are a read-only array, in this process or in Ray's object store."""

    pixels: Pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        assert len(self.pixels) == len(self.labels)
        assert not self.pixels.flags.writeable

    @property
    def images(self) -> Pixels:
        """See `Split.images`; no copy."""
        return self.pixels


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The three splits of one dataset. A label is an index into `classes`."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
