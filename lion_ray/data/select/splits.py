"""Which images of which pool make train, val and test: counts and a stable order, nothing random.

The order of a pool is that of sha256("name/index"), which no version of numpy or Python can change. `source` calls
`plan`; a `Part` is small, so it stands in the identity as it is. Splits that the source names are kept; a missing
val or test is taken from train behind the training images, so that all three stay disjoint. What modifiers leave of
train then is `sampling`'s.
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

from lion_ray.data.pool import POOL, frozen

SPLITS = ("train", "val", "test")


class TooFew(ValueError):
    """A study asks for more than the source has; `key` is the setting to mend."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(problem)
        self.key = key


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Images per split; None means all, or for a split cut from a pool the default of `_cut`."""

    train: int | None = None
    val: int | None = None
    test: int | None = None


@dataclass(frozen=True, kw_only=True)
class Part:
    """`num` images of `pool` from place `first`, in the stable order if `ordered`, else as the source has them."""

    pool: str
    first: int
    num: int
    ordered: bool

    def indices(self, name: str, size: int) -> npt.NDArray[np.int64]:
        """The chosen indices of a pool of `size` images, shape (num,)."""
        order = stable_order(name, size) if self.ordered else np.arange(size, dtype=np.int64)
        return order[self.first : self.first + self.num]

    def identity(self, name: str) -> dict[str, Any]:
        """As it enters a hash: the name counts only where it makes the order."""
        return {"pool": self.pool, "first": self.first, "num": self.num, "order": name if self.ordered else None}


@lru_cache(maxsize=16)
def stable_order(name: str, size: int) -> npt.NDArray[np.int64]:
    """Indices 0..size-1 sorted by sha256 of `name/index`, shape (size,), read-only."""
    order = sorted(range(size), key=lambda index: hashlib.sha256(f"{name}/{index}".encode()).digest())
    return frozen(np.array(order, dtype=np.int64))


def plan(sizes: Mapping[str, int], counts: Counts, defaults: Counts) -> dict[str, Part]:
    """The three parts. `counts` is the user's wish, `defaults` the catalogue's for a set that is one pool.

    Raises:
        TooFew: train or val asks for too many, or nothing is left for test. Test takes up to its count.
    """
    base = POOL if POOL in sizes else "train"
    missing = [split for split in ("val", "test") if split not in sizes]
    parts = _cut(base, sizes[base], missing, counts, defaults) if missing else {}
    own = {split: _whole(split, sizes[split], getattr(counts, split)) for split in SPLITS if split in sizes}
    return {split: {**own, **parts}[split] for split in SPLITS}


def with_val_share(sizes: Mapping[str, int], counts: Counts, defaults: Counts, share: float) -> Counts:
    """`counts` with `share` of the training images as val, rounded down: of those that are there once test is cut.

    Raises:
        TooFew: the source has a val split of its own.
    """
    if "val" in sizes:
        raise TooFew("val", f"the source has {sizes['val']} val images of its own; num_val takes fewer of them")
    size = sizes[POOL if POOL in sizes else "train"]
    test = 0 if "test" in sizes else counts.test or defaults.test or _fallback(size)["test"]
    both = (defaults.train or 0) + (defaults.val or 0) or max(2, size - test)
    val = max(1, int(Fraction(str(share)) * both))
    return Counts(train=counts.train or both - val, val=val, test=counts.test)


def _whole(split: str, size: int, num: int | None) -> Part:
    """A split of its own, or its first `num` in the stable order."""
    if num is not None and num > size and split != "test":
        raise TooFew(f"num_{split}", f"{num} is more than the {size} images of {split}")
    num = size if num is None else min(num, size)
    return Part(pool=split, first=0, num=num, ordered=num < size)


def _cut(base: str, size: int, missing: list[str], counts: Counts, defaults: Counts) -> dict[str, Part]:
    """Train and what is missing, one behind the other, from the pool `base`.

    Without a count, val takes 200 and test 1000, but each at most 20 % of the pool; train takes the rest.
    """
    num = {s: getattr(counts, s) or getattr(defaults, s) or _fallback(size)[s] for s in missing}
    train = counts.train or defaults.train or max(1, size - sum(num.values()))
    needed = train + num.get("val", 0) + ("test" in missing)
    if needed > size:
        wants = " + ".join([f"{train} train", *(f"{num[s]} val" if s == "val" else "at least 1 test" for s in missing)])
        raise TooFew("", f"{wants} do not fit into {size} images; lower num_train or num_val")
    parts, first = {}, 0
    for split, wanted in {"train": train, **num}.items():
        taken = min(wanted, size - first)
        parts[split] = Part(pool=base, first=first, num=taken, ordered=True)
        first += taken
    return parts


def _fallback(size: int) -> dict[str, int]:
    return {"val": min(200, max(1, size // 5)), "test": min(1000, max(1, size // 5))}
