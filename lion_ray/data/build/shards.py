"""Parquet shards as the `datasets` library writes them, the same bytes from the same images: planned, then written.

`building` calls `plan` once and `write` for every shard. Files are kept byte for byte, pixels become PNG; every
image is decoded on the way, so that nothing broken is built. Row groups are small: samples and streams read little.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from lion_ray.data.decode.decoding import rgb
from lion_ray.data.fingerprint import Labels, Mark, mark
from lion_ray.data.item import BadData, EncodedImage, ordered
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers.folder import is_image

SHARD_BYTES = 64 * 2**20
GROUP_IMAGES = 100
GROUP_BYTES = 16 * 2**20
NUM_SAMPLED = 64
FILE_NAMES = {"val": "validation"}
"""What the `datasets` library calls a split, where it is not our word."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One shard to be: `num` images of `pool` from place `first`."""

    path: str
    pool: str
    first: int
    num: int


@dataclass(frozen=True, kw_only=True)
class ShardRow:
    """One image as it is stored: the file, its path for people, what enters the digest, height and width."""

    encoded: bytes
    path: str
    mark: Mark
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Written:
    """A shard's bytes and what its images are, without their bytes."""

    payload: bytes
    marks: tuple[Mark, ...]
    sizes: tuple[tuple[int, int], ...]


def plan(found: FoundSet, shard_bytes: int) -> tuple[list[Planned], list[bytes]]:
    """The shards of about `shard_bytes` each, by a sample of every pool's images, and the sample's digests.

    The number of images in a shard is fixed before anything is written, so that names can say "of how many" and a
    shard can be made again alone.
    """
    planned, digests = list[Planned](), list[bytes]()
    for pool, members in found.pools.items():
        num = len(members.labels)
        if not num:
            raise BadData(f"{pool} has no images")
        sample = np.unique(np.linspace(0, num - 1, num=min(num, NUM_SAMPLED)).astype(np.int64)).tolist()
        rows = [row for _, row in ordered(members.items(sample), _row)]
        digests += [row.mark[0] for row in rows]
        mean = sum(len(row.encoded) for row in rows) / len(rows)
        planned += _cut(pool, num, max(1, int(shard_bytes / max(1.0, mean))))
    return planned, digests


def _cut(pool: str, num: int, at_most: int) -> Iterator[Planned]:
    """Shards of equal length, give or take one image."""
    count = -(-num // at_most)
    ends = [num * number // count for number in range(count + 1)]
    for number, (first, end) in enumerate(pairwise(ends)):
        path = f"{FILE_NAMES.get(pool, pool)}-{number:05d}-of-{count:05d}.parquet"
        yield Planned(path=path, pool=pool, first=first, num=end - first)


def write(found: FoundSet, shard: Planned) -> Written:
    """The shard, its images read, decoded and hashed on all cores; one shard is in memory.

    Raises:
        BadData: an image is missing or broken.
    """
    pool, end = found.pools[shard.pool], shard.first + shard.num
    rows = (row for _, row in ordered(pool.items(range(shard.first, end)), _row))
    file, marks, sizes = io.BytesIO(), list[Mark](), list[tuple[int, int]]()
    with pq.ParquetWriter(file, _schema(found.classes), compression="none", use_dictionary=False) as writer:
        for group in _groups(rows):
            first = shard.first + len(marks)
            writer.write_table(_table(group, pool.labels[first : first + len(group)], found.classes))
            marks += [row.mark for row in group]
            sizes += [row.size for row in group]
    assert len(marks) == shard.num
    return Written(payload=file.getvalue(), marks=tuple(marks), sizes=tuple(sizes))


def _groups(rows: Iterable[ShardRow]) -> Iterator[list[ShardRow]]:
    """Row groups of at most `GROUP_IMAGES`, fewer if the images are large."""
    group, num_bytes = list[ShardRow](), 0
    for row in rows:
        group.append(row)
        num_bytes += len(row.encoded)
        if len(group) == GROUP_IMAGES or num_bytes >= GROUP_BYTES:
            yield group
            group, num_bytes = [], 0
    if group:
        yield group


def _schema(classes: Sequence[str]) -> Any:
    features = {"image": {"_type": "Image"}, "label": {"names": list(classes), "_type": "ClassLabel"}}
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.schema([("image", image), ("label", pa.int64())], metadata=metadata)


def _table(rows: Sequence[ShardRow], labels: Labels, classes: Sequence[str]) -> Any:
    schema = _schema(classes)
    images = pa.array([{"bytes": row.encoded, "path": row.path} for row in rows], schema.field("image").type)
    return pa.Table.from_arrays([images, pa.array(labels)], schema=schema)


def _row(item: EncodedImage) -> ShardRow:
    encoded = item.read()
    height, width = rgb(encoded, item.where).shape[:2]
    stored = encoded if isinstance(encoded, bytes) else _png(encoded)
    found = mark(stored)
    path = item.where if is_image(item.where) else f"{item.index:08d}.{found[1]}"
    return ShardRow(encoded=stored, path=path, mark=found, size=(height, width))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
