"""A cache of the features of frozen bodies, for experiments of one process that share data and backbone.

`lion_ray.trial.prepared_splits` asks for each split of a method that trains nothing before the features. Only
experiments that would compute the same bits share an entry; `numeric_key` is the part of a key that ensures this.
`lion_ray.sweep.trial_body` owns the cache of a training process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

from lion_ray.training.batches import LIMIT_BYTES, Examples


def numeric_key(device: torch.device) -> Hashable:
    """The settings of this process that change the bits of features: device, determinism and number of threads.

    Features are always fp32, so `train.precision` is not part of it.
    """
    return (str(device), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads())


class FeatureCache:
    """Prepared splits by key. The least recently used ones are dropped when the features exceed `limit_bytes`."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._limit, self._kept = limit_bytes, OrderedDict[tuple[str, Hashable], Examples]()

    def get(self, split: str, content: Hashable, make: Callable[[], Examples]) -> Examples:
        """The cached examples; if there are none, `make` is called and its result is cached.

        Args:
            split: the name of the split, for `forget`.
            content: identifies data, transform, weights and numeric settings.
            make: prepares the split.
        """
        key = (split, content)
        cached = self._kept.pop(key, None)
        examples = make() if cached is None else cached
        self._kept[key] = examples
        while sum(map(_num_bytes, self._kept.values())) > self._limit:
            self._kept.popitem(last=False)
        return examples

    def forget(self, split: str) -> None:
        """Drop all cached splits of this name."""
        for key in [key for key in self._kept if key[0] == split]:
            del self._kept[key]


def _num_bytes(examples: Examples) -> int:
    return 0 if examples.features is None else examples.features.nbytes
