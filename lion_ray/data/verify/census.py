"""One pass over all images of a dataset: do they decode, and which images occur in several splits.

`verifying` calls `take_census` and turns the counts into a table. Pixels are compared, not files, so a training image
that was saved again in another lossless format is found in test. Images are streamed; only one digest and the first
occurrence of each image are kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from lion_ray.data.decode.decoding import rgb
from lion_ray.data.fingerprint import ImageDigest, common_encoding, content_digest, image_digest
from lion_ray.data.item import BadData, EncodedImage, map_ordered
from lion_ray.data.select.splits import SPLITS
from lion_ray.data.source import Source
from lion_ray.store import StorageError

NUM_NAMED = 3
"""How many images of a problem are named; all are counted."""

ImageScan = tuple[bytes, ImageDigest] | str
"""The digest of the RGB pixels and the image digest, or the error message of a bad image."""


@dataclass(kw_only=True)
class CountedExamples:
    """How often something occurred, and the first examples."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: Callable[[], str]) -> None:
        """Count one more. `example` is only called if its text is kept."""
        self.count += 1
        if len(self.examples) < NUM_NAMED:
            self.examples.append(example())

    def __str__(self) -> str:
        more = f" and {self.count - len(self.examples)} more" if self.count > len(self.examples) else ""
        return "; ".join(self.examples) + more


@dataclass(kw_only=True)
class Census:
    """The result of the pass.

    Attributes:
        num_images: how many images were read.
        faults: images that cannot be read or decoded.
        twins: images with equal pixels, by pair of splits; both may be the same split.
        encodings: how many images have each encoding.
        digest: the content digest; None if an image is bad.
    """

    num_images: int = 0
    faults: CountedExamples = field(default_factory=CountedExamples)
    twins: dict[tuple[str, str], CountedExamples] = field(default_factory=dict)
    encodings: Counter[str] = field(default_factory=Counter)
    digest: str | None = None

    @property
    def encoding(self) -> str:
        """The encoding that all images share, or `mixed`."""
        return common_encoding(set(self.encodings))


class _FirstSeen(NamedTuple):
    """The first occurrence of an image, and the splits that hold it as a bit mask."""

    pool: str
    place: int
    splits: int


def take_census(source: Source) -> Census:
    """Read and decode all images of all pools on all cores.

    Raises:
        StorageError: the storage does not answer. A missing file counts as a fault of the dataset instead.
    """
    counter, pools = _CensusBuilder(source), source.found.pools
    digests = {name: b"".join(counter.digests(name)) for name in sorted(pools, key=_place)}
    if not counter.census.faults.count:
        counter.census.digest = content_digest(
            {name: (_cut(digests[name]), pool.labels) for name, pool in pools.items()}
        )
    return counter.census


def _place(pool: str) -> int:
    """The order of the pools. Train is first, so that test images that are in train are counted, not the reverse."""
    return SPLITS.index(pool) if pool in SPLITS else -1


def _cut(digests: bytes) -> Iterator[bytes]:
    return (digests[at : at + 32] for at in range(0, len(digests), 32))


class _CensusBuilder:
    def __init__(self, source: Source) -> None:
        self.census, self._source, self._seen = Census(), source, dict[bytes, _FirstSeen]()

    def digests(self, name: str) -> Iterator[bytes]:
        """Add a pool to the census, and yield the digest of each image's bytes; empty bytes for a bad image."""
        pool, owners = self._source.found.pools[name], _owners(self._source, name)
        try:
            for item, scan in map_ordered(pool.items(range(len(pool.labels))), _scan):
                yield self._count(name, item, scan, int(owners[item.index]))
        except BadData as fault:  # the shard is damaged from here on
            self.census.faults.add(partial(_fault_text, fault))

    def _count(self, pool: str, item: EncodedImage, scan: ImageScan, owner: int) -> bytes:
        self.census.num_images += 1
        if isinstance(scan, str):
            self.census.faults.add(lambda: scan)
            return b""
        pixels, (digest, encoding) = scan
        self.census.encodings[encoding] += 1
        if owner >= 0:
            self._compare(pixels, pool, item, owner)
        return digest

    def _compare(self, pixels: bytes, pool: str, item: EncodedImage, owner: int) -> None:
        before = self._seen.get(pixels, _FirstSeen(pool, item.index, 0))
        self._seen[pixels] = before._replace(splits=before.splits | 1 << owner)
        for other in range(len(SPLITS)):
            if before.splits >> other & 1:
                pair = SPLITS[min(other, owner)], SPLITS[max(other, owner)]
                self.census.twins.setdefault(pair, CountedExamples()).add(partial(self._both, before, item))

    def _both(self, before: _FirstSeen, item: EncodedImage) -> str:
        first = next(iter(self._source.found.pools[before.pool].items([before.place])))
        return f"{first.where} = {item.where}"


def _owners(source: Source, pool: str) -> np.ndarray:
    """The index of each image's split in `SPLITS`; -1 if no split of the study takes the image."""
    size = len(source.found.pools[pool].labels)
    owners = np.full(size, -1, dtype=np.int8)
    for split, part in source.parts.items():
        if part.pool == pool:
            owners[part.indices(source.name, size)] = SPLITS.index(split)
    return owners


def _scan(item: EncodedImage) -> ImageScan:
    try:
        encoded = item.read()
        pixels = rgb(encoded, item.where)
    except BadData as fault:
        return _fault_text(fault)
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest(), image_digest(encoded)


def _fault_text(fault: BadData) -> str:
    cause = fault.__cause__
    if isinstance(cause, StorageError) and not isinstance(cause, FileNotFoundError):
        raise cause
    return str(fault)
