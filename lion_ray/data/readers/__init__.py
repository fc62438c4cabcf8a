"""The formats of datasets at a URL. Each format knows its files and turns a listing into a `FoundSet`.

`lion_ray.data.catalogue.lookup` calls `read`. A format is one entry of `READERS`: its name in the study file, the test
for names of its files, and which of `image_column` and `label_column` it supports.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers import arrays, csv_list, folder, parquet, tfds, vtab, webdataset
from lion_ray.data.readers.labels import ColumnNames, DataWarning
from lion_ray.data.readers.listing import Files

__all__ = ["READERS", "ColumnNames", "DataWarning", "Reader", "formats", "read"]


@dataclass(frozen=True, kw_only=True)
class Reader:
    """One format.

    Attributes:
        holds: what its files are, for messages.
        is_own: whether a path is a file of this format.
        read: reads the dataset from a listing.
        columns: the column options of the study file that it supports.
        names_images: whether its files are lists of images; the images are then no format of their own.
    """

    holds: str
    is_own: Callable[[str], bool]
    read: Callable[[Files, ColumnNames], FoundSet]
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
    """The values that a study file may give as `format`."""
    return tuple(READERS)


def read(files: Files, kind: str | None, columns: ColumnNames) -> FoundSet:
    """Read the dataset in a listing.

    Args:
        files: the listing.
        kind: the format; None decides by the names of the files.
        columns: the columns that the study file names.

    Raises:
        BadData: the listing holds no known format or several, or the data is wrong.
    """
    reader = READERS[kind or _kind(files)]
    for key, value in (("image_column", columns.image), ("label_column", columns.label)):
        if value is not None and key not in reader.columns:
            raise BadData(f"{key}: {reader.holds} have no columns to choose from")
    return reader.read(files, columns)


def _kind(files: Files) -> str:
    """The only format with files in the listing."""
    kinds = [kind for kind, reader in READERS.items() if any(map(reader.is_own, files))]
    if len(kinds) > 1 and any(READERS[kind].names_images for kind in kinds):
        kinds = [kind for kind in kinds if kind != "folder"]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise BadData(f"the url holds {' and '.join(READERS[kind].holds for kind in kinds)}; give the format")
    known = ", ".join(reader.holds for reader in READERS.values())
    raise BadData(f"the url holds nothing that is known: {known}")
