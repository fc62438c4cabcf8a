"""Conversion of labels, integers or class names in the source, to class indices. All readers but `folder` use it.

Integers count from 0. If the number of classes is not declared, every number up to the largest must occur. Otherwise
labels from 1 to 10 would make 11 classes, one without images.
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
from lion_ray.data.readers.listing import Files
from lion_ray.data.readers.notes import classes_note

CLASS_FILE = "classes.txt"
"""The file that declares the classes: one name per line, in the order of the labels."""
BY_NUMBER = "by the numbers of the labels"
Where = Callable[[int], str]
"""Maps the index of an image in its split to its name in messages."""
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")


class DataWarning(UserWarning):
    """Something unusual in a dataset that is used as it is, or that the study file says to leave out."""


@dataclass(frozen=True, kw_only=True)
class ColumnNames:
    """The columns of image and label: of Parquet or CSV, JSON keys, or TFDS features. None is the format's default."""

    image: str | None = None
    label: str | None = None


@dataclass(frozen=True, kw_only=True)
class LabelledRows:
    """Class names, the labels of each split as indices into them, and a line on the rule that gave the classes."""

    classes: tuple[str, ...]
    labels: Mapping[str, Labels]
    note: str


def labels_from_texts(
    splits: Mapping[str, Sequence[str]], wheres: Mapping[str, Where], classes: tuple[str, ...] | None
) -> LabelledRows:
    """Convert labels that are texts.

    Args:
        splits: the label texts of each split.
        wheres: for each split the function that names an image in messages.
        classes: the declared class names; None if they are not declared.

    Raises:
        BadData: no rows, integers mixed with names, a number out of range or never used, a name that train lacks.
    """
    for split, texts in splits.items():
        if not texts:
            raise BadData(f"{split} has no rows")
    integers = {split: [bool(_INTEGER.fullmatch(text)) for text in texts] for split, texts in splits.items()}
    if not any(any(flags) for flags in integers.values()) or _all_named(splits, classes):
        return _by_name(splits, wheres, classes)
    for split, flags in integers.items():
        if not all(flags):
            index = flags.index(False)
            raise BadData(f"{wheres[split](index)}: label {splits[split][index]!r} is no integer while others are")
    return labels_from_integers(
        {split: as_labels([int(text) for text in texts]) for split, texts in splits.items()}, wheres, classes
    )


def labels_from_integers(
    splits: Mapping[str, Labels],
    wheres: Mapping[str, Where],
    classes: tuple[str, ...] | None,
    rule: str = f"by {CLASS_FILE}",
) -> LabelledRows:
    """Check labels that are integers.

    Args:
        splits: the labels (N,) of each split.
        wheres: for each split the function that names an image in messages.
        classes: the declared class names; None if they are not declared.
        rule: where the classes are declared, for the note.

    Raises:
        BadData: a split has no rows, a label is out of range, or no image has it.
    """
    for split, labels in splits.items():
        if not len(labels):
            raise BadData(f"{split} has no rows")
        check_labels(labels, len(classes) if classes else 2**31, wheres[split])
    known = classes or check_gaps(np.concatenate(list(splits.values())))
    return LabelledRows(classes=known, labels=splits, note=classes_note(known, rule if classes else BY_NUMBER))


def check_gaps(labels: Labels) -> tuple[str, ...]:
    """The class names "0".."max" for labels (N,) without declared classes.

    Raises:
        BadData: a number up to the largest does not occur.
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


def declared_classes(files: Files) -> tuple[str, ...] | None:
    """The class names in `classes.txt` beside the data; None without this file.

    Raises:
        BadData: the file cannot be read, is empty, or names a class twice.
    """
    if CLASS_FILE not in files:
        return None
    names = [line.strip() for line in read_text(files, CLASS_FILE).splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        twice = next((name for name in names if names.count(name) > 1), None)
        raise BadData(f"{CLASS_FILE}: {f'names {twice!r} twice' if twice else 'names no class'}")
    return tuple(names)


def read_text(files: Files, path: str) -> str:
    """Read a small text file of the dataset.

    Raises:
        BadData: the file cannot be read, or is not UTF-8.
    """
    try:
        return files[path].read().decode("utf-8-sig")
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise BadData(f"{path}: is not UTF-8 text ({error.reason} at byte {error.start})") from error


def warn(problem: str) -> None:
    """Issue a `DataWarning`."""
    warnings.warn(problem, DataWarning, stacklevel=2)


def _all_named(splits: Mapping[str, Iterable[str]], classes: tuple[str, ...] | None) -> bool:
    """Whether every text is a declared class name. A class name may be a number, as for digits."""
    return classes is not None and all(text in set(classes) for texts in splits.values() for text in texts)


def _by_name(
    splits: Mapping[str, Sequence[str]], wheres: Mapping[str, Where], classes: tuple[str, ...] | None
) -> LabelledRows:
    base = splits.get("train") or splits[POOL]
    names = classes or tuple(sorted(set(base)))
    numbers = {name: index for index, name in enumerate(names)}
    for split, texts in splits.items():
        odd = next((index for index, text in enumerate(texts) if text not in numbers), None)
        if odd is not None:
            lacks = f"is not in {CLASS_FILE}" if classes else f"of {split} has no image in train"
            raise BadData(f"{wheres[split](odd)}: class {texts[odd]!r} {lacks}")
    labels = {split: as_labels([numbers[text] for text in texts]) for split, texts in splits.items()}
    note = classes_note(names, f"by {CLASS_FILE}" if classes else "by the names in the labels")
    return LabelledRows(classes=names, labels=labels, note=note)
