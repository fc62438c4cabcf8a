"""Which split the name of a file, a folder, an array or a cell of a list tells. One rule for all readers.

A name is cut into words (`pets_train-00000-of-00002` holds `pets`, `train`, `of` and numbers; case does not matter). It
names the split of the one word that is a split's. Two of them, a word that people use for different splits, or one
split under two words (`dev` beside `val`) are refused: nobody should train on what somebody else calls test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
"""A name with this word, or with `set` behind it (`trainset`), holds this split."""
SPLIT_COLUMNS = {"split", "splits", "subset", "partition", "phase", "usage", "set", "part", "fold"}
"""What people call the column or key that tells an image's split, in lower case."""
UNCLEAR = {"trainval", "trainvaltest", "eval", "evaluation", "holdout", "heldout", "unlabeled", "unlabelled"}
"""Words for a part of a set that do not tell which of ours it is."""
PREFIXES = {"partial"}
"""In front of a split's name it says how it was made, not of which set it is."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class NamedSplit(NamedTuple):
    """The split that a path names (`pool` if none) by which word, and the set that it belongs to: its folder and what
    is in front of the word.
    """

    split: str
    of: str
    word: str = ""


def words_of(name: str) -> list[str]:
    """`pets_Train-01` as `pets`, `train`."""
    return [word.lower() for word in _WORD.findall(name)]


def split_word(name: str) -> str | None:
    """The split that a whole word or cell names, in any case; None if it is none."""
    word = name.strip().lower()
    return SPLIT_NAMES.get(word) or SPLIT_NAMES.get(word.removesuffix("set"))


def split_in(name: str, where: str) -> str | None:
    """The split that one part of a path names.

    Args:
        where: the whole path, for messages.

    Raises:
        BadData: it names two, or a part of a set that may be any.
    """
    words = words_of(name)
    splits = list(dict.fromkeys(split for word in words if (split := split_word(word))))
    if len(splits) > 1:
        raise BadData(f"{where} names {' and '.join(splits)}: rename it, so that it names one split")
    unclear = next((word for word in words if word in UNCLEAR), None)
    if unclear and not splits:
        raise BadData(
            f"{where}: '{unclear}' does not tell whether this is train, val or test; rename it, "
            f"so that it names one of {', '.join(SPLIT_NAMES)}, or move it out of the set"
        )
    return splits[0] if splits else None


def split_of(path: str) -> NamedSplit:
    """The split that `path` names by its first part that names any: `train-0.tar`, `data/val/0.tar`, `pets_test.tar`.

    Raises:
        BadData: as `split_in`.
    """
    parts = path.split("/")
    for depth, part in enumerate(parts):
        name = part.partition(".")[0] if depth == len(parts) - 1 else part
        split = split_in(name, path)
        if split is not None:
            word = next(word for word in words_of(name) if split_word(word))
            return NamedSplit(split, "/".join([*parts[:depth], _front(name)]).strip("/") or ".", word)
    return NamedSplit(POOL, "/".join(parts[:-1]) or ".")


def check_words(words: Iterable[tuple[str, str]], where: str = "") -> None:
    """Raise `BadData` when one split is named by two words: these may be two parts of the set, such as dev and val.

    Args:
        words: each split with a word that names it.
        where: what names them, for messages.
    """
    known: dict[str, str] = {}
    for split, word in words:
        if known.setdefault(split, word) != word:
            both = " and ".join(sorted((known[split], word)))
            raise BadData(f"{where}{both} both name {split}: keep one of them, or give them one name")


def check_told(files: Iterable[Mapping[str, str]], split: str) -> None:
    """Raise `BadData` when what lies inside files names other splits than their names: it would not be heeded.

    Args:
        files: for each, every split that is named inside, and by what, such as `a.parquet: column 'split'`.
        split: what the files' names say, or `pool`.
    """
    told: dict[str, str] = {}
    for each in files:
        told = {**each, **told}
    if len(told) > 1 or (split != POOL and set(told) - {split}):
        inside = " and ".join(f"{where} names {told_split}" for told_split, where in sorted(told.items()))
        how = "no name of a file does" if split == POOL else f"the file's name says {split}"
        raise BadData(f"{inside}, but {how}: write a file for each split, named by it")


def _front(name: str) -> str:
    """What stands in front of the split's word: the name of the set, if anything."""
    found = [match for match in _WORD.finditer(name) if split_word(match.group())]
    front = name[: found[0].start()].strip("-_. ") if found else name
    return "" if front.lower() in PREFIXES else front
