"""Where the decoded splits of a study are kept: in memory within the memory budget, else mapped or streamed.

`lion_ray.sweep.shared_dataset` calls `fit_in_memory` for all datasets of a study and passes a `SplitStorage` to each
`Source.decode`. Pixels and their order are the same everywhere, so the budget changes the speed but no result.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from lion_ray.data.dataset import ArraySplit, Split
from lion_ray.data.decode.encoded import EncodedImages
from lion_ray.data.decode.mapping import MappedSplit
from lion_ray.data.decode.streaming import StreamedSplit
from lion_ray.data.fingerprint import Labels
from lion_ray.data.pool import read_only
from lion_ray.data.select.splits import SPLITS

Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class SplitStorage:
    """Where the splits of one dataset are kept.

    Attributes:
        in_memory: names of the splits in memory. Of the others train is mapped from a file, val and test are streamed.
        cache: the folder of the mapped file; None stands for the default.
        identity: text that identifies the pixels (content digest, chosen images, transform); the file's name is its
            hash.
    """

    in_memory: frozenset[str] = frozenset(SPLITS)
    cache: str | None = None
    identity: str = ""

    def keep(self, split: str, encoded: EncodedImages, labels: Labels, num_threads: int | None) -> Split:
        """Make a split, and decode it now if it is kept in memory.

        Args:
            split: `train`, `val` or `test`.
            encoded: the split's encoded images.
            labels: (N,) their labels.
            num_threads: None uses all cores of this process.

        Raises:
            StudyError: an image is missing or broken.
        """
        if split in self.in_memory:
            pixels = np.empty(encoded.shape, dtype=np.uint8)
            encoded.decode_into(pixels, num_threads)
            return ArraySplit(pixels=read_only(pixels), labels=labels)
        if split == "train":  # it is read in random order many times
            assert self.identity
            name = hashlib.sha256(f"{self.identity}/{split}".encode()).hexdigest()[:32]
            return MappedSplit(encoded=encoded, labels=labels, folder=self.cache, name=name)
        return StreamedSplit(encoded=encoded, labels=labels)


IN_MEMORY = SplitStorage()


def fit_in_memory(num_bytes: Mapping[Key, int], budget: float) -> frozenset[Key]:
    """The keys that are kept in memory: in their order, each that still fits the rest of `budget` bytes."""
    kept: set[Key] = set()
    for key, size in num_bytes.items():
        if size <= budget:
            kept.add(key)
            budget -= size
    return frozenset(kept)
