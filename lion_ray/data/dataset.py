"""Decoded data: what training, evaluation and the report hold. Arrays are read-only, so all may share them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Split:
    """`images` (N, S, S, 3) uint8 and `labels` (N,) int64, both read-only."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        assert len(self.images) == len(self.labels)
        assert not self.images.flags.writeable
        assert not self.labels.flags.writeable

    def __setstate__(self, state: dict[str, Any]) -> None:
        for array in state.values():  # NumPy forgets the flag when it is pickled
            array.flags.writeable = False
        self.__dict__.update(state)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """The three splits of one set; a label is an index into `classes`."""

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split
    test: Split
