"""TFDS's slices of a split, such as `train[90%:]`: which images of a prepared set make train, val and test.

VTAB-1k is cut by position, not by class: train is `train[:800]`, val the first 200 of what task_adaptation calls
validation. A share is rounded down, as its code does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lion_ray.data.item import BadData

SLICE = re.compile(r"^(?P<split>\w+)(\[(?P<start>\d+%?)?:(?P<stop>\d+%?)?\])?$")


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Images `start` to `stop` (exclusive) of a split as its source orders it."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def slice_of(text: str, sizes: Mapping[str, int]) -> Slice:
    """`text`, such as `test`, `train[2754:2954]` or `train[60%:80%]`, of splits of these sizes.

    Raises:
        BadData: there is no such split, or it is too small.
    """
    match = SLICE.match(text)
    assert match, text
    split = match["split"]
    if split not in sizes:
        raise BadData(f"there is no split {split} ({', '.join(sizes) or 'none at all'})")
    start, stop = (_place(match[end], sizes[split], otherwise) for end, otherwise in (("start", 0), ("stop", -1)))
    if not start < stop <= sizes[split]:
        raise BadData(f"{split} has {sizes[split]} images: too few for {text}")
    return Slice(split=split, start=start, stop=stop)


def pieces(cut: Mapping[str, str], sizes: Mapping[str, int]) -> dict[str, Slice]:
    """The slice of each of a set's own splits; `train` and `val` behind one another are what a final run trains on.

    Raises:
        BadData: as `slice_of`.
    """
    return {split: slice_of(text, sizes) for split, text in cut.items()}


def _place(text: str | None, size: int, otherwise: int) -> int:
    if text is None:
        return size if otherwise < 0 else otherwise
    return size * int(text[:-1]) // 100 if text.endswith("%") else int(text)
