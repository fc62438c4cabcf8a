"""CSV lists with the columns `path,label`: `train.csv`, `val.csv`, `test.csv`, or one file, with or without `split`.

A label is an integer from 0 or a class name. Paths are relative to the list's folder, or http(s) URLs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace

from lion_ray.data.account import splits_told
from lion_ray.data.item import BadData
from lion_ray.data.listing import Files, by_split, check_train
from lion_ray.data.pool import POOL, Found
from lion_ray.data.readers.labels import Columns, alike, text
from lion_ray.data.readers.lists import Row, read_rows
from lion_ray.data.split_names import SPLIT_NAMES, split_word


def is_list(path: str) -> bool:
    """Whether the name is a list's, beside the folders of images."""
    return path.endswith(".csv") and "/" not in path


def read(files: Files, columns: Columns) -> Found:
    """The set that the lists in `files` (a listing) name.

    Raises:
        BadData: a column is missing, a cell empty, a split unknown, or a wrong row (see `lists`).
    """
    lists = by_split(filter(is_list, files), "CSV lists")
    if len(lists.get(POOL, ())) > 1:
        raise BadData(f"there are several lists ({', '.join(lists[POOL])}); give the URL of one of them")
    splits: dict[str, list[Row]] = {}
    for split, paths in lists.items():
        for path in paths:
            for own, row in _rows(files, path, columns):
                if own and split not in (POOL, own):
                    raise BadData(f"{row.where}: split {own} in the list of {split}")
                splits.setdefault(own or split, []).append(row)
    if POOL in splits and len(splits) > 1:
        raise BadData(f"{splits[POOL][0].where}: names no split while other rows do")
    check_train(set(splits) - {POOL})
    found = read_rows(splits, files, files[next(iter(lists.values()))[0]])
    rule = "by the column 'split'" if set(lists) == {POOL} else "by the names of the lists"
    note = splits_told({split: [row.path for row in rows] for split, rows in splits.items()}, rule, "image")
    return replace(found, notes=(note, *alike(found.classes)))


def _rows(files: Files, path: str, columns: Columns) -> Iterator[tuple[str, Row]]:
    """The split that a row names, or "", and the row."""
    image, label = columns.image or "path", columns.label or "label"
    table = csv.DictReader(io.StringIO(text(files, path), newline=""), strict=True)
    try:
        header = [name.strip() for name in table.fieldnames or ()]
        for key, name in (("image_column", image), ("label_column", label)):
            if name not in header:
                raise BadData(f"{path}: has no column '{name}' (its columns: {', '.join(header)}); give {key}")
        table.fieldnames = header
        for cells in table:
            where = f"{path}: line {table.line_num}"
            if None in cells or None in cells.values() or not cells[image].strip() or not cells[label].strip():
                raise BadData(f"{where}: needs {len(header)} cells, with '{image}' and '{label}' not empty")
            yield _split(cells.get("split", ""), where), Row(cells[image].strip(), cells[label].strip(), where)
        if table.line_num < 2:
            raise BadData(f"{path}: has no rows")
    except csv.Error as error:
        raise BadData(f"{path}: line {table.reader.line_num}: is not CSV ({error})") from error


def _split(word: str, where: str) -> str:
    if word.strip() and split_word(word) is None:
        raise BadData(f"{where}: split {word.strip()!r} is not one of {', '.join(SPLIT_NAMES)}")
    return split_word(word) or ""
