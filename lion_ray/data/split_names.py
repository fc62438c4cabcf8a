"""Which split the name of a file, a folder, an array or a cell of a list tells. One rule for all readers.

A name is cut into words (`pets_train-00000-of-00002` holds `pets`, `train`, `of` and numbers; case does not matter). It
names the split of the one word that is a split's. Two of them, or a word that people use for different splits, are
refused: nobody should train on what somebody else calls test.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""A name with this word holds this split."""
UNCLEAR = {"trainval", "trainvaltest", "eval", "evaluation", "holdout", "heldout", "unlabeled", "unlabelled"}
"""Words for a part of a set that do not tell which of ours it is."""
PREFIXES = {"partial"}
"""In front of a split's name it says how it was made, not of which set it is."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class Named(NamedTuple):
    """The split that a path names (`pool` if none), and the set that it belongs to: its folder and what is in front."""

    split: str
    of: str


def words_of(name: str) -> list[str]:
    """`pets_Train-01` as `pets`, `train`."""
    return [word.lower() for word in _WORD.findall(name)]


def split_word(name: str) -> str | None:
    """The split that a whole word or cell names, in any case; None if it is none."""
    return SPLIT_NAMES.get(name.strip().lower())


def split_in(name: str, where: str) -> str | None:
    """The split that one part of a path names.

    Args:
        where: the whole path, for messages.

    Raises:
        BadData: it names two, or a part of a set that may be any.
    """
    words = words_of(name)
    splits = list(dict.fromkeys(SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES))
    if len(splits) > 1:
        raise BadData(f"{where} names {' and '.join(splits)}: rename it, so that it names one split")
    unclear = next((word for word in words if word in UNCLEAR), None)
    if unclear and not splits:
        raise BadData(
            f"{where}: '{unclear}' does not tell whether this is train, val or test; rename it, "
            f"so that it names one of {', '.join(SPLIT_NAMES)}, or move it out of the set"
        )
    return splits[0] if splits else None


def split_of(path: str) -> Named:
    """The split that `path` names by its first part that names any: `train-0.tar`, `data/val/0.tar`, `pets_test.tar`.

    Raises:
        BadData: as `split_in`.
    """
    parts = path.split("/")
    for depth, part in enumerate(parts):
        name = part.partition(".")[0] if depth == len(parts) - 1 else part
        split = split_in(name, path)
        if split is not None:
            return Named(split, "/".join([*parts[:depth], _front(name)]).strip("/") or ".")
    return Named(POOL, "/".join(parts[:-1]) or ".")


def _front(name: str) -> str:
    """What stands in front of the split's word: the name of the set, if anything."""
    found = [match for match in _WORD.finditer(name) if match.group().lower() in SPLIT_NAMES]
    front = name[: found[0].start()].strip("-_. ") if found else name
    return "" if front.lower() in PREFIXES else front
