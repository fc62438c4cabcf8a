"""Lists of image files with labels, as `vtab` and `csv_list` read them: every row checked, no image opened.

A path is relative to the root and stays below it. A row that repeats another is kept and warned of; one that gives a
second label, or stands in a second split, is an error.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lion_ray.data.files import File, UrlFile, is_web
from lion_ray.data.item import BadData
from lion_ray.data.pool import FilePool, FoundSet
from lion_ray.data.readers.labels import declared, label, warn
from lion_ray.data.readers.listing import Files, beside


class ListedImage(NamedTuple):
    """One image: where its file is, its label as written, and the list and line that say so."""

    path: str
    label: str
    where: str


def read_rows(splits: Mapping[str, Sequence[ListedImage]], files: Files, source: File) -> FoundSet:
    """The set that the rows name; `source` is the list, beside which they lie if it is all that was listed.

    Raises:
        BadData: a path leaves the root or is not there, a row contradicts another, or a wrong label (see `labels`).
    """
    seen: dict[str, tuple[str, ListedImage]] = {}
    found = {split: [_file(row, files, source) for row in rows] for split, rows in splits.items()}
    for split, rows in splits.items():
        _check_repeats(split, rows, seen)
    words = {split: [row.label for row in rows] for split, rows in splits.items()}
    wheres = {split: [row.where for row in rows].__getitem__ for split, rows in splits.items()}
    labelled = label(words, wheres, declared(files))
    pools = {
        split: FilePool(
            files=tuple(found[split]),
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
        return beside(source, path)
    file = files.get(path)
    if file is None:
        raise BadData(f"{row.where}: there is no file {row.path}")
    return file


def _shortest(path: str) -> str:
    """One spelling for `a/b`, `./a/b` and `a//b`; whether it leaves the root is seen by what is left of it."""
    if "://" in path or ".." in path.split("/"):
        return path
    shortest = posixpath.normpath(path)
    return "" if shortest == "." else shortest


def _check_repeats(split: str, rows: Sequence[ListedImage], seen: dict[str, tuple[str, ListedImage]]) -> None:
    """Raise for contradictions with what was `seen`, to which the rows are added; warn of repetitions."""
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
