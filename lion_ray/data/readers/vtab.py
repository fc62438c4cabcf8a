"""The common VTAB-1k tree: a folder `images/`, and lists with lines `path label`. Paths may hold spaces.

train is `train800.txt`, val is `val200.txt` and test is `test.txt`, each in the list's order. If `train800val200.txt`
exists, it must be the union of the first two. `lion_ray.data.readers` registers this reader as `vtab`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers.labels import ColumnNames, read_text
from lion_ray.data.readers.listing import Files
from lion_ray.data.readers.lists import ListedImage, read_rows
from lion_ray.data.readers.notes import splits_note

LISTS = {"train": "train800.txt", "val": "val200.txt", "test": "test.txt"}
BOTH = "train800val200.txt"


def is_list(path: str) -> bool:
    """Whether `path` is the training list of a tree, at any depth."""
    return path.rpartition("/")[2] == LISTS["train"]


def read(files: Files, _: ColumnNames) -> FoundSet:
    """Read the dataset of the tree in a listing.

    Raises:
        BadData: a list is missing, is empty or contradicts another, there are several trees, or a row is wrong (see
            `lists`).
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
    paths = {split: [row.path for row in rows] for split, rows in splits.items()}
    return replace(found, notes=(splits_note(paths, f"by {', '.join(LISTS.values())}", "image"), *found.notes))


def _rows(files: Files, path: str) -> list[ListedImage]:
    rows = []
    for number, line in enumerate(read_text(files, path).split("\n"), start=1):
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
    """Raise `BadData` at the first row that is not in both lists."""
    here, there = (Counter((row.path, row.label) for row in rows) for rows in (parts, both))
    for rows, others, name in ((both, here, "train800.txt or val200.txt"), (parts, there, BOTH)):
        odd = next((row for row in rows if not others[row.path, row.label]), None)
        if odd is not None:
            raise BadData(f"{odd.where}: '{odd.path} {odd.label}' is not in {name}")
    if here != there:
        raise BadData(f"{BOTH}: has {len(both)} rows, but {len(parts)} are in train800.txt and val200.txt")
