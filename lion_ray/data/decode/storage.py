"""Where the decoded splits of a study are kept: in memory as far as the budget goes, else mapped or streamed.

`sweep` asks `fitting` over all datasets of the study and gives each `Source.decode` its `Storage`. Pixels and their
order are the same in every storage, so the budget changes the speed and no result.
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
from lion_ray.data.pool import frozen
from lion_ray.data.select.splits import SPLITS

Key = TypeVar("Key")


@dataclass(frozen=True, kw_only=True)
class Storage:
    """`in_memory` names splits; of the others train is mapped from a file below `cache`, val and test are streamed.

    `identity` says which pixels these are (content digest, choice of images, transform); it names the file.
    """

    in_memory: frozenset[str] = frozenset(SPLITS)
    cache: str | None = None
    identity: str = ""

    def keep(self, split: str, encoded: EncodedImages, labels: Labels, num_threads: int | None) -> Split:
        """The split, decoded now if it belongs in memory.

        Raises:
            StudyError: an image is missing or broken.
        """
        if split in self.in_memory:
            pixels = np.empty(encoded.shape, dtype=np.uint8)
            encoded.decode_into(pixels, num_threads)
            return ArraySplit(pixels=frozen(pixels), labels=labels)
        if split == "train":  # read in random order, again and again
            assert self.identity
            name = hashlib.sha256(f"{self.identity}/{split}".encode()).hexdigest()[:32]
            return MappedSplit(encoded=encoded, labels=labels, folder=self.cache, name=name)
        return StreamedSplit(encoded=encoded, labels=labels)


IN_MEMORY = Storage()


def fitting(num_bytes: Mapping[Key, int], budget: float) -> frozenset[Key]:
    """Which keys are kept in memory: each, in their order, that fits what those before have left of `budget` bytes."""
    kept: set[Key] = set()
    for key, size in num_bytes.items():
        if size <= budget:
            kept.add(key)
            budget -= size
    return frozenset(kept)
