"""Every image of a set looked at once: does it decode, has it been seen before, in which split.

`verifying` turns the counts into a table. Pixels are compared, not files: a train image that was saved again in another
format is still found in test. Images stream; what stays of each is one digest and where it was first seen.
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
from lion_ray.data.fingerprint import Mark, common, fold, mark
from lion_ray.data.item import BadData, EncodedImage, ordered
from lion_ray.data.select.splits import SPLITS
from lion_ray.data.source import Source
from lion_ray.store import StorageError

NUM_NAMED = 3
"""Of a fault's images so many are named; all are counted."""

Look = tuple[bytes, Mark] | str
"""Digest of the RGB pixels and the mark, or what is wrong."""


@dataclass(kw_only=True)
class NamedImage:
    """How often something was seen, and where first."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: Callable[[], str]) -> None:
        """One more; it is put into words only if it will be named."""
        self.count += 1
        if len(self.examples) < NUM_NAMED:
            self.examples.append(example())

    def __str__(self) -> str:
        more = f" and {self.count - len(self.examples)} more" if self.count > len(self.examples) else ""
        return "; ".join(self.examples) + more


@dataclass(kw_only=True)
class Census:
    """What was seen. `twins` of equal pixels are by pair of splits, of one split among itself too.

    `digest` is that of the set's identity, None where an image could not be read.
    """

    num_images: int = 0
    faults: NamedImage = field(default_factory=NamedImage)
    twins: dict[tuple[str, str], NamedImage] = field(default_factory=dict)
    encodings: Counter[str] = field(default_factory=Counter)
    digest: str | None = None

    @property
    def encoding(self) -> str:
        """The one encoding, or `mixed`."""
        return common(set(self.encodings))


class _Seen(NamedTuple):
    """Where an image was seen first, and in which splits: a number with one bit for each."""

    pool: str
    place: int
    splits: int


def take(source: Source) -> Census:
    """Read and decode all images of all pools, on all cores.

    Raises:
        StorageError: the storage does not answer; a file that is not there is a fault of the set.
    """
    counter, pools = _Counter(source), source.found.pools
    digests = {name: b"".join(counter.digests(name)) for name in sorted(pools, key=_place)}
    if not counter.census.faults.count:
        counter.census.digest = fold({name: (_cut(digests[name]), pool.labels) for name, pool in pools.items()})
    return counter.census


def _place(pool: str) -> int:
    """Train comes first: then what is counted are images of test that are in train."""
    return SPLITS.index(pool) if pool in SPLITS else -1


def _cut(digests: bytes) -> Iterator[bytes]:
    return (digests[at : at + 32] for at in range(0, len(digests), 32))


class _Counter:
    def __init__(self, source: Source) -> None:
        self.census, self._source, self._seen = Census(), source, dict[bytes, _Seen]()

    def digests(self, name: str) -> Iterator[bytes]:
        """Fills the census with a pool, and gives the digest of each image's bytes, none for a broken one."""
        pool, owners = self._source.found.pools[name], _owners(self._source, name)
        try:
            for item, look in ordered(pool.items(range(len(pool.labels))), _look):
                yield self._count(name, item, look, int(owners[item.index]))
        except BadData as fault:  # the file that holds the images ends here
            self.census.faults.add(partial(_told, fault))

    def _count(self, pool: str, item: EncodedImage, look: Look, owner: int) -> bytes:
        self.census.num_images += 1
        if isinstance(look, str):
            self.census.faults.add(lambda: look)
            return b""
        pixels, (digest, encoding) = look
        self.census.encodings[encoding] += 1
        if owner >= 0:
            self._compare(pixels, pool, item, owner)
        return digest

    def _compare(self, pixels: bytes, pool: str, item: EncodedImage, owner: int) -> None:
        before = self._seen.get(pixels, _Seen(pool, item.index, 0))
        self._seen[pixels] = before._replace(splits=before.splits | 1 << owner)
        for other in range(len(SPLITS)):
            if before.splits >> other & 1:
                pair = SPLITS[min(other, owner)], SPLITS[max(other, owner)]
                self.census.twins.setdefault(pair, NamedImage()).add(partial(self._both, before, item))

    def _both(self, before: _Seen, item: EncodedImage) -> str:
        first = next(iter(self._source.found.pools[before.pool].items([before.place])))
        return f"{first.where} = {item.where}"


def _owners(source: Source, pool: str) -> np.ndarray:
    """For each image of the pool the number of its split in `SPLITS`, -1 where a study takes it for none."""
    size = len(source.found.pools[pool].labels)
    owners = np.full(size, -1, dtype=np.int8)
    for split, part in source.parts.items():
        if part.pool == pool:
            owners[part.indices(source.name, size)] = SPLITS.index(split)
    return owners


def _look(item: EncodedImage) -> Look:
    try:
        encoded = item.read()
        pixels = rgb(encoded, item.where)
    except BadData as fault:
        return _told(fault)
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest(), mark(encoded)


def _told(fault: BadData) -> str:
    cause = fault.__cause__
    if isinstance(cause, StorageError) and not isinstance(cause, FileNotFoundError):
        raise cause
    return str(fault)
