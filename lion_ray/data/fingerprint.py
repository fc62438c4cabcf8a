"""The content digest of a set: what it holds, never where it lies, what it is called or how it is sharded.

SHA-256 over each split's name and size and, in the source's order, each image's own SHA-256 and label. The same
rows as an image folder or as Parquet, in one shard or many, here or on a bucket, have the same digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lion_ray.data.item import Encoded, EncodedImage, ordered

Labels = npt.NDArray[np.int64]
Mark = tuple[bytes, str]
"""What enters the digest of one image: 32 bytes, and its encoding."""

MAGIC = {
    b"\x89PNG\r\n\x1a\n": "png",
    b"\xff\xd8\xff": "jpeg",
    b"GIF8": "gif",
    b"BM": "bmp",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
}


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """`encoding` is how the source stores its pixels: `raw`, `png`, `jpeg`, ..., or `mixed`.

    `repeated` names the images whose stored bytes are alike, as in `train/0 test/3`: pools and places of each group.
    None where nobody has looked.
    """

    digest: str
    encoding: str
    repeated: tuple[str, ...] | None = None


def fingerprint(pools: Mapping[str, tuple[Iterable[EncodedImage], Labels]]) -> Fingerprint:
    """Read every item of every pool once."""
    encodings, seen = set[str](), {name: list[bytes]() for name in pools}

    def digests(name: str, items: Iterable[EncodedImage]) -> Iterator[bytes]:
        for _, (digest, encoding) in ordered(items, _read_mark):
            encodings.add(encoding)
            seen[name].append(digest)
            yield digest

    digest = fold({name: (digests(name, items), labels) for name, (items, labels) in pools.items()})
    return Fingerprint(digest=digest, encoding=common(encodings), repeated=repeated(seen))


def repeated(digests: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """See `Fingerprint.repeated`; by the digests of each pool's images, in their order."""
    first = dict[bytes, str]()
    groups = dict[bytes, list[str]]()
    for pool, marks in digests.items():
        for index, digest in enumerate(marks):
            place = f"{pool}/{index}"
            before = first.setdefault(digest, place)
            if before != place:
                groups.setdefault(digest, [before]).append(place)
    return tuple(" ".join(places) for places in groups.values())


def fold(pools: Mapping[str, tuple[Iterable[bytes], Labels]]) -> str:
    """The content digest from the digests of every pool's images, in the pool's order."""
    whole = hashlib.sha256()
    for name in sorted(pools):
        digests, labels = pools[name]
        whole.update(f"{name}:{len(labels)}\n".encode())
        for label, digest in zip(labels.tolist(), digests, strict=True):
            whole.update(digest + label.to_bytes(8, "little"))
    return whole.hexdigest()


def common(encodings: Set[str]) -> str:
    """The one encoding, or `mixed`."""
    return next(iter(encodings)) if len(encodings) == 1 else "mixed"


def _read_mark(item: EncodedImage) -> Mark:
    return mark(item.read())


def mark(encoded: Encoded) -> Mark:
    """SHA-256 of the stored bytes, or of shape and pixels, and the encoding."""
    if isinstance(encoded, bytes):
        return hashlib.sha256(encoded).digest(), encoding_of(encoded)
    pixels = np.ascontiguousarray(encoded)
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest(), "raw"


def encoding_of(encoded: Encoded) -> str:
    """The file format by its first bytes, or `other`."""
    if not isinstance(encoded, bytes):
        return "raw"
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in MAGIC.items() if encoded.startswith(magic)), "other")
