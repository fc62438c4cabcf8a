"""Which split the name of a file, folder or array, or a cell of a list, stands for. All readers use these rules.

A name is cut into words, ignoring case: `pets_train-00000-of-00002` holds `pets`, `train` and `of`. A name stands for
the split of its only word that is a split's name. Names with two splits, words with several meanings, and one split
under two words (`dev` beside `val`) are refused, so that no study trains on images that its source calls test.
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
"""The split of each word. A word may end in `set`, as in `trainset`."""
SPLIT_COLUMNS = {"split", "splits", "subset", "partition", "phase", "usage", "set", "part", "fold"}
"""Names of columns and JSON keys that hold the split of an image, in lower case."""
UNCLEAR = {"trainval", "trainvaltest", "eval", "evaluation", "holdout", "heldout", "unlabeled", "unlabelled"}
"""Words for a part of a dataset that may be train, val or test."""
PREFIXES = {"partial"}
"""Words before a split's name that are not the name of a dataset."""
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


class NamedSplit(NamedTuple):
    """The split that a path names.

    Attributes:
        split: the split, or `pool` if the path names none.
        of: the dataset that the path belongs to: its folder and the text before the split's word.
        word: the word that names the split.
    """

    split: str
    of: str
    word: str = ""


def words_of(name: str) -> list[str]:
    """The words of a name in lower case: `pets_Train-01` gives `pets` and `train`."""
    return [word.lower() for word in _WORD.findall(name)]


def split_word(name: str) -> str | None:
    """The split that a whole word or cell stands for; None if it is no split's name. Case is ignored."""
    word = name.strip().lower()
    return SPLIT_NAMES.get(word) or SPLIT_NAMES.get(word.removesuffix("set"))


def split_in(name: str, where: str) -> str | None:
    """The split that one part of a path names; None if it names none.

    Args:
        name: the part of the path.
        where: the whole path, for messages.

    Raises:
        BadData: the part names two splits, or one that may be any.
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
    """The split of the first part of `path` that names one, as in `train-0.tar`, `data/val/0.tar` or `pets_test.tar`.

    Raises:
        BadData: a part names two splits, or one that may be any.
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
    """Raise `BadData` if two words name one split, because they may be two parts of the dataset, such as dev and val.

    Args:
        words: pairs of a split and a word that names it.
        where: the start of the message.
    """
    known: dict[str, str] = {}
    for split, word in words:
        if known.setdefault(split, word) != word:
            both = " and ".join(sorted((known[split], word)))
            raise BadData(f"{where}{both} both name {split}: keep one of them, or give them one name")


def check_inner_splits(files: Iterable[Mapping[str, str]], split: str) -> None:
    """Raise `BadData` if the content of files names other splits than their names, because it would be ignored.

    Args:
        files: for each file the splits that its content names, and where, such as `a.parquet: column 'split'`.
        split: the split of the files' names, or `pool`.
    """
    inner: dict[str, str] = {}
    for each in files:
        inner = {**each, **inner}
    if len(inner) > 1 or (split != POOL and set(inner) - {split}):
        inside = " and ".join(f"{where} names {inner_split}" for inner_split, where in sorted(inner.items()))
        how = "no name of a file does" if split == POOL else f"the file's name says {split}"
        raise BadData(f"{inside}, but {how}: write a file for each split, named by it")


def _front(name: str) -> str:
    """The text before the split's word, which is the name of the dataset; empty if there is none."""
    matches = [match for match in _WORD.finditer(name) if split_word(match.group())]
    front = name[: matches[0].start()].strip("-_. ") if matches else name
    return "" if front.lower() in PREFIXES else front
