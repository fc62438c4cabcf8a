"""Labels as sources write them, integers or class names, to indices of classes. All readers but `folder` call this.

Integers count from 0. Where nobody declares how many classes there are, every number up to the largest must occur:
labels from 1 to 10 would otherwise train an eleventh class that has no image.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lion_ray.data.fingerprint import Labels
from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL, as_labels, check_labels
from lion_ray.data.readers.account import classes_told
from lion_ray.data.readers.listing import Files

CLASS_FILE = "classes.txt"
"""Declares the classes: one name per line, in the order of the labels."""
BY_NUMBER = "by the numbers of the labels"
Where = Callable[[int], str]
"""How messages name the n-th image of a split."""
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")


class DataWarning(UserWarning):
    """Something odd in a dataset that is used as it is, or was left out as the study file says."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What an entry says of columns: Parquet's, a CSV list's, keys of JSON, features of TFDS. None: the usual."""

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Class names, for each split the labels as indices into them, and a line on what told the classes."""

    classes: tuple[str, ...]
    labels: Mapping[str, Labels]
    note: str


def label(
    splits: Mapping[str, Sequence[str]], wheres: Mapping[str, Where], classes: tuple[str, ...] | None
) -> LabelledRows:
    """The words of every split as labels. `wheres` names each for messages, `classes` are the declared ones, if any.

    Raises:
        BadData: no rows, integers mixed with names, a number out of range or never used, a name that train lacks.
    """
    for split, words in splits.items():
        if not words:
            raise BadData(f"{split} has no rows")
    integers = {split: [bool(_INTEGER.fullmatch(word)) for word in words] for split, words in splits.items()}
    if not any(any(flags) for flags in integers.values()) or _all_named(splits, classes):
        return _by_name(splits, wheres, classes)
    for split, flags in integers.items():
        if not all(flags):
            index = flags.index(False)
            raise BadData(f"{wheres[split](index)}: label {splits[split][index]!r} is no integer while others are")
    return number({split: as_labels([int(word) for word in words]) for split, words in splits.items()}, wheres, classes)


def number(
    splits: Mapping[str, Labels],
    wheres: Mapping[str, Where],
    classes: tuple[str, ...] | None,
    rule: str = f"by {CLASS_FILE}",
) -> LabelledRows:
    """Integer labels, checked; `rule` is what has declared the classes, if anything.

    Raises:
        BadData: a split has no rows, a label is out of range, or no image has it.
    """
    for split, labels in splits.items():
        if not len(labels):
            raise BadData(f"{split} has no rows")
        check_labels(labels, len(classes) if classes else 2**31, wheres[split])
    known = classes or check_gaps(np.concatenate(list(splits.values())))
    return LabelledRows(classes=known, labels=splits, note=classes_told(known, rule if classes else BY_NUMBER))


def check_gaps(labels: Labels) -> tuple[str, ...]:
    """The names "0".."max" of classes that nobody declares.

    Raises:
        BadData: no image has one of these numbers.
    """
    largest = int(labels.max(initial=0))
    used = np.unique(labels[labels >= 0])
    missing = next((place for place, label in enumerate(used.tolist()) if label != place), None)
    if missing is not None and labels.min(initial=0) >= 0:
        raise BadData(
            f"no image has label {missing} while the largest is {largest}: labels count from 0; "
            f"name the classes ({CLASS_FILE}, or the 'names' of Parquet) if one is meant to be empty"
        )
    return tuple(str(number) for number in range(largest + 1))


def declared(files: Files) -> tuple[str, ...] | None:
    """The lines of `classes.txt` beside the data, if it is there.

    Raises:
        BadData: it cannot be read, is empty, or names a class twice.
    """
    if CLASS_FILE not in files:
        return None
    names = [line.strip() for line in text(files, CLASS_FILE).splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        raise BadData(f"{CLASS_FILE}: {f'names {twice!r} twice' if twice else 'names no class'}")
    return tuple(names)


def text(files: Files, path: str) -> str:
    """A small text file of the set.

    Raises:
        BadData: it cannot be read, or is not UTF-8.
    """
    try:
        return files[path].read().decode("utf-8-sig")
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error


def warn(problem: str) -> None:
    """Say `problem` as a `DataWarning`."""
    warnings.warn(problem, DataWarning, stacklevel=2)


def _all_named(splits: Mapping[str, Iterable[str]], classes: tuple[str, ...] | None) -> bool:
    """Whether every word is a declared class: a digit's name may be a number."""
    return classes is not None and all(word in set(classes) for words in splits.values() for word in words)


def _by_name(
    splits: Mapping[str, Sequence[str]], wheres: Mapping[str, Where], classes: tuple[str, ...] | None
) -> LabelledRows:
    base = splits.get("train") or splits[POOL]
    names = classes or tuple(sorted(set(base)))
    numbers = {name: index for index, name in enumerate(names)}
    for split, words in splits.items():
        odd = next((index for index, word in enumerate(words) if word not in numbers), None)
        if odd is not None:
            lacks = f"is not in {CLASS_FILE}" if classes else f"of {split} has no image in train"
            raise BadData(f"{wheres[split](odd)}: class {words[odd]!r} {lacks}")
    labels = {split: as_labels([numbers[word] for word in words]) for split, words in splits.items()}
    note = classes_told(names, f"by {CLASS_FILE}" if classes else "by the names in the labels")
    return LabelledRows(classes=names, labels=labels, note=note)
