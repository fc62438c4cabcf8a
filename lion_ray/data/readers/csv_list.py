"""CSV lists with the columns `path` and `label`: `train.csv`, `val.csv` and `test.csv`, or one file.

One file may have a column `split`. A label is an integer from 0 or a class name. Paths are relative to the folder of
the list, or http(s) URLs. `lion_ray.data.readers` registers this reader as `csv`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL, FoundSet
from lion_ray.data.readers.labels import ColumnNames, read_text
from lion_ray.data.readers.listing import Files, by_split, check_train
from lion_ray.data.readers.lists import ListedImage, read_rows
from lion_ray.data.readers.notes import count_and_names, splits_note
from lion_ray.data.readers.split_names import SPLIT_NAMES, check_words, split_word

SPLIT = "split"
"""The column with the split of a row, in upper or lower case."""


def is_list(path: str) -> bool:
    """Whether `path` is a CSV file at the root."""
    return path.lower().endswith(".csv") and "/" not in path


def read(files: Files, columns: ColumnNames) -> FoundSet:
    """Read the dataset of the CSV lists in a listing.

    Raises:
        BadData: a column is missing, a cell is empty, a split is unknown, or a row is wrong (see `lists`).
    """
    lists = by_split(filter(is_list, files), "CSV lists")
    if len(lists.get(POOL, ())) > 1:
        raise BadData(f"there are several lists ({', '.join(lists[POOL])}); give the URL of one of them")
    splits: dict[str, list[ListedImage]] = {}
    others: dict[str, None] = {}
    for split, paths in lists.items():
        for path in paths:
            table = _read(files, path, columns)
            for own, row in zip(table.splits, table.rows, strict=True):
                if own and split not in (POOL, own):
                    raise BadData(f"{row.where}: split {own} in the list of {split}")
                splits.setdefault(own or split, []).append(row)
            others |= dict.fromkeys(table.others)
    if POOL in splits and len(splits) > 1:
        raise BadData(f"{splits[POOL][0].where}: names no split while other rows do")
    check_train(set(splits) - {POOL})
    _check_folders(splits.get(POOL, ()))
    found = read_rows(splits, files, files[next(iter(lists.values()))[0]])
    rule = f"by the column '{SPLIT}'" if set(lists) == {POOL} else "by the names of the lists"
    notes = [splits_note({split: [row.path for row in rows] for split, rows in splits.items()}, rule, "image")]
    unused = [f"not used: {count_and_names(list(others), 'column')}"] if others else []
    return replace(found, notes=(*notes, *found.notes, *unused))


@dataclass(frozen=True, kw_only=True)
class _CsvList:
    """The rows of one list, the split of each row (or an empty text), and the columns that are not read."""

    rows: list[ListedImage]
    splits: list[str]
    others: list[str]


def _read(files: Files, path: str, columns: ColumnNames) -> _CsvList:
    """Read one list, and check what can be checked without the other lists."""
    cells = list(_rows(files, path, columns))
    if not cells:
        raise BadData(f"{path}: has no rows")
    used = {columns.image or "path", columns.label or "label"}
    named = next((name for name in cells[0][1] if name.lower() == SPLIT and name not in used), SPLIT)
    row_splits = [(_split(row.get(named, ""), each.where), row.get(named, "").strip().lower()) for each, row in cells]
    check_words([word for word in row_splits if word[0]], f"{path}: ")
    others = [name for name in cells[0][1] if name not in {*used, named}]
    for name in others:
        named_splits = {split_word(row[name]) or "" for _, row in cells}
        if "" not in named_splits and len(named_splits) > 1:
            raise BadData(f"{path}: column '{name}' tells {' and '.join(sorted(named_splits))}: call it '{SPLIT}'")
    return _CsvList(rows=[each for each, _ in cells], splits=[split for split, _ in row_splits], others=others)


def _check_folders(rows: Sequence[ListedImage]) -> None:
    """Raise `BadData` if rows without a split name folders of several splits; they would be mixed as one pool."""
    first_rows: dict[str, str] = {}
    for row in rows:
        for part in row.path.split("/")[:-1]:
            if split := split_word(part):
                first_rows.setdefault(split, row.where)
    if len(first_rows) > 1:
        names, where = " and ".join(sorted(first_rows)), list(first_rows.values())[1]
        raise BadData(f"{where}: rows name images in folders of {names}, but no split: add a column '{SPLIT}'")


def _rows(files: Files, path: str, columns: ColumnNames) -> Iterator[tuple[ListedImage, dict[str, str]]]:
    """Yield each row, with its cells by column."""
    image, label = columns.image or "path", columns.label or "label"
    table = csv.DictReader(io.StringIO(read_text(files, path), newline=""), strict=True)
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
            yield ListedImage(cells[image].strip(), cells[label].strip(), where), cells
    except csv.Error as error:
        raise BadData(f"{path}: line {table.reader.line_num}: is not CSV ({error})") from error


def _split(word: str, where: str) -> str:
    if word.strip() and split_word(word) is None:
        raise BadData(f"{where}: split {word.strip()!r} is not one of {', '.join(SPLIT_NAMES)}")
    return split_word(word) or ""
