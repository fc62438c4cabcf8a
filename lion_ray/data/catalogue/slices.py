"""TFDS slices such as `train[90%:]`: which images of a prepared split make train, val and test.

VTAB-1k is cut by position, not by class. Train is `train[:800]`, and val is the first 200 images of the split that
task_adaptation calls validation. A percentage is rounded down, as in task_adaptation. `cutting` calls `slices_of`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lion_ray.data.item import BadData

SLICE = re.compile(r"^(?P<split>\w+)(\[(?P<start>\d+%?)?:(?P<stop>\d+%?)?\])?$")


@dataclass(frozen=True, kw_only=True)
class SplitSlice:
    """The images `start` to `stop` (exclusive) of a split in its source's order."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def slice_of(text: str, sizes: Mapping[str, int]) -> SplitSlice:
    """Parse `text`, such as `test`, `train[2754:2954]` or `train[60%:80%]`. `sizes` are the images of each split.

    Raises:
        BadData: the split is missing or too small.
    """
    match = SLICE.match(text)
    assert match, text
    split = match["split"]
    if split not in sizes:
        raise BadData(f"there is no split {split} ({', '.join(sizes) or 'none at all'})")
    start, stop = (_place(match[end], sizes[split], otherwise) for end, otherwise in (("start", 0), ("stop", -1)))
    if not start < stop <= sizes[split]:
        raise BadData(f"{split} has {sizes[split]} images: too few for {text}")
    return SplitSlice(split=split, start=start, stop=stop)


def slices_of(cut: Mapping[str, str], sizes: Mapping[str, int]) -> dict[str, SplitSlice]:
    """The slice of each split. `cut` holds their texts, `sizes` the images of each TFDS split.

    Raises:
        BadData: a split is missing or too small.
    """
    return {split: slice_of(text, sizes) for split, text in cut.items()}


def _place(text: str | None, size: int, otherwise: int) -> int:
    if text is None:
        return size if otherwise < 0 else otherwise
    return size * int(text[:-1]) // 100 if text.endswith("%") else int(text)
