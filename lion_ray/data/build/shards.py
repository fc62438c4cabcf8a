"""Parquet shards in the layout of the HuggingFace `datasets` library. The same images always give the same bytes.

`building` calls `plan` once and `write` for every shard. Image files are kept byte for byte, and pixels become PNG.
Every image is decoded, so that no broken image is built. Row groups are small, so samples and streams read little.
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
from lion_ray.data.fingerprint import ImageDigest, Labels, image_digest
from lion_ray.data.item import BadData, EncodedImage, map_ordered
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers.folder import is_image

SHARD_BYTES = 64 * 2**20
GROUP_IMAGES = 100
GROUP_BYTES = 16 * 2**20
NUM_SAMPLED = 64
FILE_NAMES = {"val": "validation"}
"""Names of splits in the `datasets` library where they differ from ours."""


@dataclass(frozen=True, kw_only=True)
class PlannedShard:
    """A shard to write at `path`: `num` images of `pool` from index `first` on."""

    path: str
    pool: str
    first: int
    num: int


@dataclass(frozen=True, kw_only=True)
class ShardRow:
    """One stored image: the encoded file, its path for the user, its digest, and its height and width."""

    encoded: bytes
    path: str
    digest: ImageDigest
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class WrittenShard:
    """An encoded shard: its bytes, and digest and (height, width) of each image."""

    payload: bytes
    digests: tuple[ImageDigest, ...]
    sizes: tuple[tuple[int, int], ...]


def plan(found: FoundSet, shard_bytes: int) -> tuple[list[PlannedShard], list[bytes]]:
    """Plan shards of about `shard_bytes` each from a sample of every pool's images.

    The number of images in a shard is fixed before anything is written, so that file names hold the number of shards
    and a single shard can be written again.

    Returns:
        The shards, and the digests of the sampled images.
    """
    planned, digests = list[PlannedShard](), list[bytes]()
    for pool, members in found.pools.items():
        num = len(members.labels)
        if not num:
            raise BadData(f"{pool} has no images")
        sample = np.unique(np.linspace(0, num - 1, num=min(num, NUM_SAMPLED)).astype(np.int64)).tolist()
        rows = [row for _, row in map_ordered(members.items(sample), _row)]
        digests += [row.digest[0] for row in rows]
        mean = sum(len(row.encoded) for row in rows) / len(rows)
        planned += _cut(pool, num, max(1, int(shard_bytes / max(1.0, mean))))
    return planned, digests


def _cut(pool: str, num: int, at_most: int) -> Iterator[PlannedShard]:
    """Shards of equal numbers of images, or one more."""
    count = -(-num // at_most)
    ends = [num * number // count for number in range(count + 1)]
    for number, (first, end) in enumerate(pairwise(ends)):
        path = f"{FILE_NAMES.get(pool, pool)}-{number:05d}-of-{count:05d}.parquet"
        yield PlannedShard(path=path, pool=pool, first=first, num=end - first)


def write(found: FoundSet, shard: PlannedShard) -> WrittenShard:
    """Encode one shard in memory. Its images are read, decoded and hashed on all cores.

    Raises:
        BadData: an image is missing or broken.
    """
    pool, end = found.pools[shard.pool], shard.first + shard.num
    rows = (row for _, row in map_ordered(pool.items(range(shard.first, end)), _row))
    file, digests, sizes = io.BytesIO(), list[ImageDigest](), list[tuple[int, int]]()
    with pq.ParquetWriter(file, _schema(found.classes), compression="none", use_dictionary=False) as writer:
        for group in _groups(rows):
            first = shard.first + len(digests)
            writer.write_table(_table(group, pool.labels[first : first + len(group)], found.classes))
            digests += [row.digest for row in group]
            sizes += [row.size for row in group]
    assert len(digests) == shard.num
    return WrittenShard(payload=file.getvalue(), digests=tuple(digests), sizes=tuple(sizes))


def _groups(rows: Iterable[ShardRow]) -> Iterator[list[ShardRow]]:
    """Row groups of at most `GROUP_IMAGES` images, or fewer if the images are large."""
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
    digest = image_digest(stored)
    path = item.where if is_image(item.where) else f"{item.index:08d}.{digest[1]}"
    return ShardRow(encoded=stored, path=path, digest=digest, size=(height, width))


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
