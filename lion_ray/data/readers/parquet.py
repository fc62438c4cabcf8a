"""Parquet in the layout of HuggingFace: `image: struct<bytes, path>` (or plain binary) and `label: int`.

Shards name their split as `train-*.parquet`, `data/validation-*.parquet` or `default/test/0000.parquet`; without such
names they are one pool. Labels are read at once and images by row group, so a dataset may be larger than memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lion_ray.data.files import File
from lion_ray.data.fingerprint import Labels
from lion_ray.data.item import BadData, EncodedImage, read_as
from lion_ray.data.pool import FoundSet, as_labels, check_labels
from lion_ray.data.readers.labels import BY_NUMBER, ColumnNames, check_gaps
from lion_ray.data.readers.listing import Files, by_split
from lion_ray.data.readers.notes import classes_note, count_and_names, incomplete_shard_notes, splits_note
from lion_ray.data.readers.split_names import SPLIT_COLUMNS, check_inner_splits, split_word


@dataclass(frozen=True, kw_only=True)
class ParquetShard:
    """One Parquet file.

    Attributes:
        file, path: the file, and its path for messages.
        column, is_struct: the image column, and whether its bytes are the field `bytes` of a struct.
        labels, names: the labels (N,), and the class names of the schema, if any.
        others: columns that are not read.
        named_splits: splits that cells of these columns name, each with the file and column.
    """

    file: File
    path: str
    column: str
    is_struct: bool
    labels: Labels
    names: tuple[str, ...] | None
    others: tuple[str, ...] = ()
    named_splits: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ParquetPool:
    """The shards of one split, one after the other."""

    shards: tuple[ParquetShard, ...]
    labels: Labels

    def items(self, indices: Sequence[int]) -> Iterator[EncodedImage]:
        """See `Pool.items`. One row group is in memory at a time."""
        wanted, first = np.asarray(indices, dtype=np.int64), 0
        for shard in self.shards:
            size = len(shard.labels)
            rows = wanted[(wanted >= first) & (wanted < first + size)] - first
            for row, encoded in _images(shard, rows):
                where = f"{shard.path}: row {row}"
                yield EncodedImage(index=first + row, where=where, load=partial(_present, encoded, where))
            first += size


def is_shard(path: str) -> bool:
    """Whether `path` is a Parquet file."""
    return path.lower().endswith(".parquet")


def read(files: Files, columns: ColumnNames) -> FoundSet:
    """Read the dataset of the Parquet files in a listing.

    Raises:
        BadData: a column is missing or has a wrong type, a label is null or out of range, or a split has no rows.
    """
    splits = by_split(filter(is_shard, files), "Parquet shards")
    pools = {split: [_shard(files[path], path, columns) for path in paths] for split, paths in splits.items()}
    shards = [shard for pool in pools.values() for shard in pool]
    for split, pool in pools.items():
        if not sum(len(shard.labels) for shard in pool):
            raise BadData(f"{pool[0].path}: {split} has no rows")
        check_inner_splits((shard.named_splits for shard in pool), split)
    classes = _classes(shards)
    for shard in shards:
        check_labels(shard.labels, len(classes), partial("{0.path}: row {1}".format, shard))
    rule = BY_NUMBER if shards[0].names is None else "by the names in the schema"
    notes = [
        splits_note(splits, "by the names of the files"),
        classes_note(classes, rule),
        *incomplete_shard_notes(splits),
    ]
    if others := sorted({name for shard in shards for name in shard.others}):
        notes.append(f"not used: {count_and_names(others, 'column')}")
    return FoundSet(classes=classes, pools={split: _pool(pool) for split, pool in pools.items()}, notes=tuple(notes))


def _pool(shards: list[ParquetShard]) -> ParquetPool:
    return ParquetPool(shards=tuple(shards), labels=as_labels(np.concatenate([shard.labels for shard in shards])))


def _shard(file: File, path: str, columns: ColumnNames) -> ParquetShard:
    image, label = columns.image or "image", columns.label or "label"
    with _opened(file, path) as table:
        is_struct = _is_struct(table.schema_arrow, path, image, label)
        labels = table.read(columns=[label], use_threads=False).column(label)
        names = _names(table.schema_arrow.metadata or {}, path, label)
        others = tuple(name for name in table.schema_arrow.names if name not in (image, label))
        named_splits = {split: f"{path}: column '{name}'" for name in others for split in _named_splits(table, name)}
    if labels.null_count:
        raise BadData(f"{path}: row {pc.index(pc.is_null(labels), True).as_py()}: {label} is null")
    return ParquetShard(
        file=file,
        path=path,
        column=image,
        is_struct=is_struct,
        labels=as_labels(labels.to_numpy()),
        names=names,
        others=others,
        named_splits=named_splits,
    )


def _named_splits(table: Any, name: str) -> set[str]:
    """The splits in the cells of a column, if its name is that of a split column."""
    kind = table.schema_arrow.field(name).type
    if name.lower() not in SPLIT_COLUMNS or not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return set()
    texts = table.read(columns=[name], use_threads=False).column(name).unique().to_pylist()
    return {split for text in texts if text and (split := split_word(text))}


def _is_struct(schema: Any, path: str, image: str, label: str) -> bool:
    """Whether the image column is a struct. Raises `BadData` if a column is missing or has a wrong type."""
    for key, name in (("image_column", image), ("label_column", label)):
        if name not in schema.names:
            raise BadData(f"{path}: has no column '{name}' (its columns: {', '.join(schema.names)}); give {key}")
    if not pa.types.is_integer(schema.field(label).type):
        raise BadData(f"{path}: column '{label}' is {schema.field(label).type}, not an integer")
    kind = schema.field(image).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type):
        return True
    if _is_bytes(kind):
        return False
    raise BadData(f"{path}: column '{image}' is {kind}, not binary or a struct with binary 'bytes'")


def _is_bytes(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _names(metadata: dict[bytes, bytes], path: str, label: str) -> tuple[str, ...] | None:
    """The class names that the `datasets` library stores in the schema; None without them."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        names = features.get(label, {}).get("names")
    except (ValueError, AttributeError) as error:
        raise BadData(f"{path}: the 'huggingface' metadata cannot be read ({error})") from error
    return tuple(str(name) for name in names) if names else None


def _classes(shards: list[ParquetShard]) -> tuple[str, ...]:
    """The class names of all shards, or "0".."max" without names."""
    odd = next((shard for shard in shards if shard.names != shards[0].names), None)
    if odd is not None:
        raise BadData(f"{odd.path}: its class names differ from those of {shards[0].path}")
    if shards[0].names is not None:
        return shards[0].names
    return check_gaps(np.concatenate([shard.labels for shard in shards]))


def _images(shard: ParquetShard, rows: Any) -> Iterator[tuple[int, bytes | None]]:
    """The encoded images at `rows` (ascending). Only their row groups are read."""
    if not len(rows):
        return
    with _opened(shard.file, shard.path) as file:
        first = 0
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            here = rows[(rows >= first) & (rows < first + size)]
            if len(here):
                wanted = f"{shard.column}.bytes" if shard.is_struct else shard.column
                table = file.read_row_group(group, columns=[wanted], use_threads=False)
                column = table.column(shard.column).combine_chunks()
                column = pc.struct_field(column, "bytes") if shard.is_struct else column
                for row in here.tolist():
                    yield row, column[row - first].as_py()
            first += size


@contextmanager
def _opened(file: File, path: str) -> Iterator[Any]:
    with (
        read_as("Parquet", path),
        file.open() as raw,
        pq.ParquetFile(raw, pre_buffer=False) as table,  # as report.read_table
    ):
        yield table


def _present(encoded: bytes | None, where: str) -> bytes:
    if encoded is None:
        raise BadData(f"{where}: image is null (its bytes must be in the file)")
    return encoded
