"""The formats of datasets at a URL: each knows its own files and turns a listing into a `FoundSet`.

`source` calls `read`. A format is one entry here: its name in the study file, which names of files are its own, and
which of `image_column` and `label_column` it heeds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers import arrays, csv_list, folder, parquet, tfds, vtab, webdataset
from lion_ray.data.readers.labels import Columns, DataWarning
from lion_ray.data.readers.listing import Files

__all__ = ["READERS", "Columns", "DataWarning", "Reader", "formats", "read"]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One format. `names_images`: its files name images that would else be a folder of images."""

    holds: str
    is_own: Callable[[str], bool]
    read: Callable[[Files, Columns], FoundSet]
    columns: tuple[str, ...] = ()
    names_images: bool = False


READERS = {
    "parquet": Reader(
        holds="Parquet shards", is_own=parquet.is_shard, read=parquet.read, columns=("image_column", "label_column")
    ),
    "folder": Reader(holds="images", is_own=folder.is_image, read=lambda files, _: folder.read(files)),
    "vtab": Reader(holds="a VTAB-1k tree (train800.txt)", is_own=vtab.is_list, read=vtab.read, names_images=True),
    "csv": Reader(
        holds="CSV lists",
        is_own=csv_list.is_list,
        read=csv_list.read,
        columns=("image_column", "label_column"),
        names_images=True,
    ),
    "webdataset": Reader(
        holds="tar shards", is_own=webdataset.is_shard, read=webdataset.read, columns=("label_column",)
    ),
    "npz": Reader(holds="an .npz", is_own=arrays.is_archive, read=arrays.read),
    "tfds": Reader(
        holds="TFDS records", is_own=tfds.is_shard, read=tfds.read, columns=("image_column", "label_column")
    ),
}


def formats() -> tuple[str, ...]:
    """The names a study file may give as `format`."""
    return tuple(READERS)


def read(files: Files, kind: str | None, columns: Columns) -> FoundSet:
    """The set in `files` (a listing), of the given format or of the one that its files' names tell.

    Raises:
        BadData: it holds no format or several, or its data is at fault.
    """
    reader = READERS[kind or _kind(files)]
    for key, value in (("image_column", columns.image), ("label_column", columns.label)):
        if value is not None and key not in reader.columns:
            raise BadData(f"{key}: {reader.holds} have no columns to choose from")
    return reader.read(files, columns)


def _kind(files: Files) -> str:
    """The one format that has files here."""
    kinds = [kind for kind, reader in READERS.items() if any(map(reader.is_own, files))]
    if len(kinds) > 1 and any(READERS[kind].names_images for kind in kinds):
        kinds = [kind for kind in kinds if kind != "folder"]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise BadData(f"the url holds {' and '.join(READERS[kind].holds for kind in kinds)}; give the format")
    known = ", ".join(reader.holds for reader in READERS.values())
    raise BadData(f"the url holds nothing that is known: {known}")
