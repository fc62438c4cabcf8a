"""Decoded data as training, evaluation and the report hold it: three splits, wherever their pixels are kept.

A `Split` hides which of three storages it is: an array that all trials of a node share (`ArraySplit`), a file that
they map (`cache.MappedSplit`), or images that are decoded anew on each pass (`streaming.StreamedSplit`). All give the
same pixels in the same order, so nobody's results depend on it. `source` makes them.
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
    """N images of (S, S, 3) uint8 and their `labels` (N,) int64, read-only."""

    labels: Labels

    def __post_init__(self) -> None:
        assert not self.labels.flags.writeable

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            if isinstance(value, np.ndarray):  # NumPy forgets the flag when it is pickled
                value.flags.writeable = False
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def images(self) -> Pixels:
        """All pixels at once (N, S, S, 3), read-only; of a split that is streamed, decoded now."""

    @abstractmethod
    def gather(self, rows: Rows) -> Pixels:
        """The images at `rows`, in any order, as a fresh array (B, S, S, 3)."""

    @abstractmethod
    def chunks(self, rows: Rows, size: int, *, num_threads: int) -> Iterator[Pixels]:
        """The images at `rows` (ascending), `size` after `size`; what has to be decoded is, on `num_threads`."""

    @abstractmethod
    def prepare(self) -> None:
        """Do now what the first access would have to do, once per node."""


class IndexedSplit(Split):
    """A split whose `images` are one array at hand."""

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
    """`pixels` (N, S, S, 3), read-only, in this process or without a copy in Ray's object store."""

    pixels: Pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        assert len(self.pixels) == len(self.labels)
        assert not self.pixels.flags.writeable

    @property
    def images(self) -> Pixels:
        """`pixels`."""
        return self.pixels


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The three splits of one set; a label is an index into `classes`."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
