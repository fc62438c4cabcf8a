"""Fixed features of this process, computed once: experiments that share data and backbone share them, turn after turn.

`trial` asks for each split of a method that trains nothing before the features. Only as much is kept as fits. They are
shared by experiments that would compute the same bits only: `numeric_key` is the part of a key that says how.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from lion_ray.training.batches import LIMIT_BYTES, Examples


def numeric_key(device: torch.device) -> Hashable:
    """What the bits of features depend on beside data and weights; not on `train.precision`: they are fp32 always."""
    return (str(device), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads())


class FeatureCache:
    """Prepared splits by key, the least recently used leaving first; one that alone exceeds the limit is not kept."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit, self._kept = limit_bytes, OrderedDict[tuple[str, Hashable], Examples]()

    def get(self, split: str, what: Hashable, make: Callable[[], Examples]) -> Examples:
        """The split of what `what` says, made now if it is not here."""
        key = (split, what)
        found = self._kept.pop(key, None)
        examples = make() if found is None else found
        self._kept[key] = examples
        while sum(map(_num_bytes, self._kept.values())) > self._limit:
            self._kept.popitem(last=False)
        return examples

    def forget(self, split: str) -> None:
        """Keep nothing of the splits of this name."""
        for key in [key for key in self._kept if key[0] == split]:
            del self._kept[key]


def _num_bytes(examples: Examples) -> int:
    return 0 if examples.features is None else examples.features.nbytes


FEATURES = FeatureCache()
