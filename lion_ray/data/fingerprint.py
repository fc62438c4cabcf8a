"""The content digest of a dataset. It depends on the images and labels, not on place, name or sharding.

It is the SHA-256 over each split's name and size and, in the source's order, each image's SHA-256 and label. The same
images as an image folder or as Parquet, in one shard or many, local or on a bucket, have the same digest. `pool`,
`build` and `verify` compute it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lion_ray.data.item import Encoded, EncodedImage, map_ordered

Labels = npt.NDArray[np.int64]
ImageDigest = tuple[bytes, str]
"""SHA-256 of one image (32 bytes), and the name of its encoding."""

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
    """Digest and encoding of a dataset.

    Attributes:
        digest: the content digest in hexadecimal.
        encoding: how the source stores its images: `raw`, `png`, `jpeg`, ..., or `mixed`.
        repeated: groups of images with equal stored bytes, each group as pools and rows such as `train/0 test/3`; None
            if this was not checked.
    """

    digest: str
    encoding: str
    repeated: tuple[str, ...] | None = None


def fingerprint(pools: Mapping[str, tuple[Iterable[EncodedImage], Labels]]) -> Fingerprint:
    """Compute the fingerprint of `pools`: the images and labels of each pool by its name. Reads every image once."""
    encodings, seen = set[str](), {name: list[bytes]() for name in pools}

    def digests(name: str, items: Iterable[EncodedImage]) -> Iterator[bytes]:
        for _, (digest, encoding) in map_ordered(items, _read_digest):
            encodings.add(encoding)
            seen[name].append(digest)
            yield digest

    digest = content_digest({name: (digests(name, items), labels) for name, (items, labels) in pools.items()})
    return Fingerprint(digest=digest, encoding=common_encoding(encodings), repeated=repeated_images(seen))


def repeated_images(digests: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    """Groups of equal images (see `Fingerprint.repeated`), from the image digests of each pool in its order."""
    first = dict[bytes, str]()
    groups = dict[bytes, list[str]]()
    for pool, marks in digests.items():
        for index, digest in enumerate(marks):
            place = f"{pool}/{index}"
            before = first.setdefault(digest, place)
            if before != place:
                groups.setdefault(digest, [before]).append(place)
    return tuple(" ".join(places) for places in groups.values())


def content_digest(pools: Mapping[str, tuple[Iterable[bytes], Labels]]) -> str:
    """The content digest in hexadecimal, from the image digests and the labels of each pool, in the pool's order."""
    whole = hashlib.sha256()
    for name in sorted(pools):
        digests, labels = pools[name]
        whole.update(f"{name}:{len(labels)}\n".encode())
        for label, digest in zip(labels.tolist(), digests, strict=True):
            whole.update(digest + label.to_bytes(8, "little"))
    return whole.hexdigest()


def common_encoding(encodings: Set[str]) -> str:
    """The encoding that all images share, or `mixed`."""
    return next(iter(encodings)) if len(encodings) == 1 else "mixed"


def _read_digest(item: EncodedImage) -> ImageDigest:
    return image_digest(item.read())


def image_digest(encoded: Encoded) -> ImageDigest:
    """SHA-256 and encoding of one image. Of an array, shape and pixels are hashed."""
    if isinstance(encoded, bytes):
        return hashlib.sha256(encoded).digest(), encoding_of(encoded)
    pixels = np.ascontiguousarray(encoded)
    return hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).digest(), "raw"


def encoding_of(encoded: Encoded) -> str:
    """The file format by its first bytes, `other` if unknown, or `raw` for an array."""
    if not isinstance(encoded, bytes):
        return "raw"
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "webp"
    return next((name for magic, name in MAGIC.items() if encoded.startswith(magic)), "other")
