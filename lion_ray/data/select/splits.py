"""Which images of which pool make train, val and test, by counts and a stable order without random numbers.

A pool is ordered by sha256("name/index"), which does not depend on the version of numpy or Python.
`lion_ray.data.source` calls `plan`. A `SplitRange` is small and is part of the dataset's identity. Splits of the source
are kept. A missing val or test is cut from train after the training images, so that all three are disjoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from lion_ray.data.pool import POOL, read_only

SPLITS = ("train", "val", "test")


class TooFewImages(ValueError):
    """A study asks for more images than the source has. `key` is the setting to change."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """Images per split. None means all images, or the default of `_cut` for a split that is cut from a pool."""

    train: int | None = None
    val: int | None = None
    test: int | None = None


@dataclass(frozen=True, kw_only=True)
class SplitRange:
    """The images of one split: `num` images of `pool` from position `first` on.

    Positions count in the stable order if `ordered`, else in the source's order.
    """

    pool: str
    first: int
    num: int
    ordered: bool

    def indices(self, name: str, size: int) -> npt.NDArray[np.int64]:
        """The indices (num,) in a pool of `size` images. `name` is the dataset's name, which sets the stable order."""
        order = stable_order(name, size) if self.ordered else np.arange(size, dtype=np.int64)
        return order[self.first : self.first + self.num]

    def identity(self, name: str) -> dict[str, Any]:
        """JSON values for the identity. The name is part of them only if it sets the order."""
        return {"pool": self.pool, "first": self.first, "num": self.num, "order": name if self.ordered else None}


@lru_cache(maxsize=16)
def stable_order(name: str, size: int) -> npt.NDArray[np.int64]:
    """The indices 0..size-1, sorted by sha256 of `name/index`; (size,), read-only."""
    order = sorted(range(size), key=lambda index: hashlib.sha256(f"{name}/{index}".encode()).digest())
    return read_only(np.array(order, dtype=np.int64))


def plan(sizes: Mapping[str, int], counts: SplitCounts, defaults: SplitCounts) -> dict[str, SplitRange]:
    """Plan the three splits.

    Args:
        sizes: images in each pool.
        counts: the counts of the study file.
        defaults: the counts of the catalogue, for a dataset that is one pool.

    Returns:
        The range of train, val and test. Test may have fewer images than its count.

    Raises:
        TooFewImages: train or val asks for too many images, or no image is left for test.
    """
    base = POOL if POOL in sizes else "train"
    missing = [split for split in ("val", "test") if split not in sizes]
    parts = _cut(base, sizes[base], missing, counts, defaults) if missing else {}
    own = {split: _whole(split, sizes[split], getattr(counts, split)) for split in SPLITS if split in sizes}
    return {split: {**own, **parts}[split] for split in SPLITS}


def with_val_share(sizes: Mapping[str, int], counts: SplitCounts, defaults: SplitCounts, share: float) -> SplitCounts:
    """Set the count of val to a share of the training images, rounded down, after test is cut.

    Args:
        sizes: images in each pool.
        counts: the counts of the study file.
        defaults: the counts of the catalogue.
        share: val's share of train and val together.

    Raises:
        TooFewImages: the source has a val split of its own.
    """
    if "val" in sizes:
        raise TooFewImages("val", f"the source has {sizes['val']} val images of its own; num_val takes fewer of them")
    size = sizes[POOL if POOL in sizes else "train"]
    test = 0 if "test" in sizes else counts.test or defaults.test or _fallback(size)["test"]
    both = (defaults.train or 0) + (defaults.val or 0) or max(2, size - test)
    val = max(1, int(Fraction(str(share)) * both))
    return SplitCounts(train=counts.train or both - val, val=val, test=counts.test)


def _whole(split: str, size: int, num: int | None) -> SplitRange:
    """A split of the source, or its first `num` images in the stable order."""
    if num is not None and num > size and split != "test":
        raise TooFewImages(f"num_{split}", f"{num} is more than the {size} images of {split}")
    num = size if num is None else min(num, size)
    return SplitRange(pool=split, first=0, num=num, ordered=num < size)


def _cut(base: str, size: int, missing: list[str], counts: SplitCounts, defaults: SplitCounts) -> dict[str, SplitRange]:
    """Cut train and the missing splits from the pool `base`, one after the other.

    Without a count val takes 200 images and test 1000, each at most 20 % of the pool. Train takes the rest.
    """
    num = {s: getattr(counts, s) or getattr(defaults, s) or _fallback(size)[s] for s in missing}
    train = counts.train or defaults.train or max(1, size - sum(num.values()))
    needed = train + num.get("val", 0) + ("test" in missing)
    if needed > size:
        wants = " + ".join([f"{train} train", *(f"{num[s]} val" if s == "val" else "at least 1 test" for s in missing)])
        raise TooFewImages("", f"{wants} do not fit into {size} images; lower num_train or num_val")
    parts, first = {}, 0
    for split, wanted in {"train": train, **num}.items():
        taken = min(wanted, size - first)
        parts[split] = SplitRange(pool=base, first=first, num=taken, ordered=True)
        first += taken
    return parts


def _fallback(size: int) -> dict[str, int]:
    return {"val": min(200, max(1, size // 5)), "test": min(1000, max(1, size // 5))}
