"""Checks of lists of image files with labels, for the readers `vtab` and `csv_list`. No image is opened.

A path is relative to the root and stays below it. A row that repeats another one is kept with a warning. A row that
gives an image a second label or a second split is an error.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lion_ray.data.files import File, UrlFile, is_web
from lion_ray.data.item import BadData
from lion_ray.data.pool import FilePool, FoundSet
from lion_ray.data.readers.labels import declared_classes, labels_from_texts, warn
from lion_ray.data.readers.listing import Files, file_next_to


class ListedImage(NamedTuple):
    """One row of a list: the image's path, its label as written, and list and line for messages."""

    path: str
    label: str
    where: str


def read_rows(splits: Mapping[str, Sequence[ListedImage]], files: Files, source: File) -> FoundSet:
    """Make a dataset from the rows of lists.

    Args:
        splits: the rows of each split.
        files: the listing. If it holds only the list, paths are relative to the list's folder.
        source: the file of the list.

    Raises:
        BadData: a path leaves the root or is missing, rows contradict one another, or a label is wrong (see `labels`).
    """
    seen: dict[str, tuple[str, ListedImage]] = {}
    image_files = {split: [_file(row, files, source) for row in rows] for split, rows in splits.items()}
    for split, rows in splits.items():
        _check_repeats(split, rows, seen)
    texts = {split: [row.label for row in rows] for split, rows in splits.items()}
    wheres = {split: [row.where for row in rows].__getitem__ for split, rows in splits.items()}
    labelled = labels_from_texts(texts, wheres, declared_classes(files))
    pools = {
        split: FilePool(
            files=tuple(image_files[split]),
            names=tuple(f"{row.where}: {row.path}" for row in rows),
            labels=labelled.labels[split],
        )
        for split, rows in splits.items()
    }
    return FoundSet(classes=labelled.classes, pools=pools, notes=(labelled.note,))


def _file(row: ListedImage, files: Files, source: File) -> File:
    if is_web(row.path):
        return UrlFile(url=row.path)
    path = _shortest(row.path)
    if not path or path.startswith(("/", "~")) or "://" in path or "\\" in path or ".." in path.split("/"):
        raise BadData(f"{row.where}: {row.path!r} leaves the root: give a path below it, or an http(s) URL")
    if len(files) == 1:
        return file_next_to(source, path)
    file = files.get(path)
    if file is None:
        raise BadData(f"{row.where}: there is no file {row.path}")
    return file


def _shortest(path: str) -> str:
    """One spelling for `a/b`, `./a/b` and `a//b`. A path with `..` is returned as it is, so that it is refused."""
    if "://" in path or ".." in path.split("/"):
        return path
    shortest = posixpath.normpath(path)
    return "" if shortest == "." else shortest


def _check_repeats(split: str, rows: Sequence[ListedImage], seen: dict[str, tuple[str, ListedImage]]) -> None:
    """Raise if a row contradicts the rows `seen` so far, add the rows to them, and warn of repetitions."""
    repeats = []
    for row in rows:
        other, first = seen.setdefault(_shortest(row.path), (split, row))
        if first is row:
            continue
        if other != split:
            raise BadData(f"{row.where}: {row.path} of {split} is in {other} too ({first.where})")
        if first.label != row.label:
            raise BadData(f"{row.where}: {row.path} has label {row.label!r}, but {first.label!r} in {first.where}")
        repeats.append((row, first))
    if repeats:
        row, first = repeats[0]
        others = f"{len(repeats)} rows of {split} repeat others and count twice"
        warn(f"{others}; first {row.where}: {row.path} ({first.where})")
