"""The well-known VTAB-1k tree: `images/`, and lists whose lines are `path label`; paths may hold spaces.

train is `train800.txt`, val `val200.txt`, test `test.txt`, each in the list's own order; `train800val200.txt`, if it
is there, has to be the first two together. The last word of a line is its label.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers.account import splits_told
from lion_ray.data.readers.labels import Columns, text
from lion_ray.data.readers.listing import Files
from lion_ray.data.readers.lists import ListedImage, read_rows

LISTS = {"train": "train800.txt", "val": "val200.txt", "test": "test.txt"}
BOTH = "train800val200.txt"


def is_list(path: str) -> bool:
    """Whether the name is that of a tree's training list, at whatever depth."""
    return path.rpartition("/")[2] == LISTS["train"]


def read(files: Files, _: Columns) -> FoundSet:
    """The set in `files` (a listing).

    Raises:
        BadData: a list is missing, empty or contradicts another, several trees, or a wrong row (see `lists`).
    """
    trees = sorted({path.rpartition("/")[0] for path in files if is_list(path)} - {""})
    if trees and LISTS["train"] not in files:
        raise BadData(f"VTAB trees lie in {', '.join(trees)}; give the URL of one of them")
    for path in LISTS.values():
        if path not in files:
            raise BadData(f"there is no {path}; a VTAB-1k tree has {', '.join(LISTS.values())}")
    splits = {split: _rows(files, path) for split, path in LISTS.items()}
    if BOTH in files:
        _check_both(splits["train"] + splits["val"], _rows(files, BOTH))
    found = read_rows(splits, files, files[LISTS["train"]])
    told = {split: [row.path for row in rows] for split, rows in splits.items()}
    return replace(found, notes=(splits_told(told, f"by {', '.join(LISTS.values())}", "image"), *found.notes))


def _rows(files: Files, path: str) -> list[ListedImage]:
    rows = []
    for number, line in enumerate(text(files, path).split("\n"), start=1):
        if not line.strip():
            continue
        image, _, label = line.strip().rpartition(" ")
        if not image:
            raise BadData(f"{path}: line {number}: {line.strip()!r} is not 'path label'")
        rows.append(ListedImage(image.strip(), label, f"{path}: line {number}"))
    if not rows:
        raise BadData(f"{path}: has no rows")
    return rows


def _check_both(parts: list[ListedImage], both: list[ListedImage]) -> None:
    """Raise `BadData` at the first row that only one side has."""
    here, there = (Counter((row.path, row.label) for row in rows) for rows in (parts, both))
    for rows, others, name in ((both, here, "train800.txt or val200.txt"), (parts, there, BOTH)):
        odd = next((row for row in rows if not others[row.path, row.label]), None)
        if odd is not None:
            raise BadData(f"{odd.where}: '{odd.path} {odd.label}' is not in {name}")
    if here != there:
        raise BadData(f"{BOTH}: has {len(both)} rows, but {len(parts)} are in train800.txt and val200.txt")
