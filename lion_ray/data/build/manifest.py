"""`manifest.json`, the last file that a build writes. It describes a built dataset and holds the digest of every shard.

`building` writes it, and `lion_ray.data.verify` checks all bytes against it. `lion_ray.data.catalogue.lookup` reads a
built dataset with `read_with_manifest`: shards, sizes, labels and class names are compared with the manifest, and the
digest of the images is taken from it without reading them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError

from lion_ray.config import Frozen
from lion_ray.data.files import UrlFile
from lion_ray.data.fingerprint import Fingerprint, Labels
from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers.listing import Files, relative
from lion_ray.store import digest_url, find_listed_files, map_in_threads

MANIFEST = "manifest.json"
UNFINISHED = "unfinished"
"""The folder of a build's shard records. Without a manifest beside it the dataset is not complete."""

FORMAT: Literal["lion-ray dataset 1"] = "lion-ray dataset 1"


class BuiltShard(Frozen):
    """One Parquet file: its SHA-256 in hexadecimal, its size in bytes, and its number of images."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int
    images: int


class LabelSummary(Frozen):
    """The labels of one pool: images, images per class, and the SHA-256 of all labels in order."""

    images: int
    per_class: tuple[int, ...]
    sha256: str


class ImageSizes(Frozen):
    """The smallest and the largest width and height of the upright images, in pixels."""

    width: tuple[int, int]
    height: tuple[int, int]


class Manifest(Frozen):
    """The content of `manifest.json`.

    `digest`, `encoding` and `repeated` are those of `Fingerprint`; `repeated` is None in manifests of older builds.
    `content` is the digest by which a build recognises its own dataset before it has read all images.
    """

    format: Literal["lion-ray dataset 1"] = FORMAT
    name: str
    digest: str
    encoding: str
    classes: tuple[str, ...]
    splits: Mapping[str, LabelSummary]
    split_rule: str
    source: str
    content: str
    pixels: ImageSizes
    shards: Mapping[str, BuiltShard]
    repeated: tuple[str, ...] | None = None

    def to_json(self) -> bytes:
        """The bytes of the file."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()


def parse(payload: bytes) -> Manifest:
    """Parse the bytes of a manifest file.

    Raises:
        BadData: they are no manifest.
    """
    try:
        return Manifest.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join(filter(None, [MANIFEST, ".".join(map(str, first["loc"]))]))
        raise BadData(f"{where}: {first['msg']}") from error


def read_with_manifest(url: str, files: Files, read: Callable[[Files], FoundSet]) -> FoundSet:
    """Read a dataset, and check it against its manifest if it was built. Its fingerprint is then the manifest's.

    Args:
        url: where the dataset lies.
        files: its listing.
        read: reads the dataset from a listing.

    Raises:
        BadData: the build is not finished, or shards, sizes, labels or class names differ from the manifest.
    """
    manifest = find_manifest(files)
    if manifest is None:
        return read(files)
    listed = find_listed_files(url)
    placed = {path: file.url for path, file in files.items() if isinstance(file, UrlFile)}
    sizes = {path: listed[place].size for path, place in placed.items() if place in listed}
    problem = next(iter(listing_problems(manifest, sizes)), None)
    if problem is not None:
        raise BadData(problem)
    found = read({path: files[path] for path in files if path in manifest.shards})
    check_labels_of(manifest, found)
    known = Fingerprint(digest=manifest.digest, encoding=manifest.encoding, repeated=manifest.repeated)
    notes = () if manifest.repeated is not None else (f"{MANIFEST} does not say whether images of test are in train",)
    return dataclasses.replace(found, known=known, notes=(*found.notes, *notes))


def find_manifest(files: Files) -> Manifest | None:
    """The manifest in a listing; None if no build has written this dataset.

    Raises:
        BadData: the manifest is damaged, or the build is not finished.
    """
    if MANIFEST in files:
        return parse(files[MANIFEST].read())
    if any(path.startswith(f"{UNFINISHED}/") for path in files):
        raise BadData("its build has not come to the end; give the same `lion-ray data build` again")
    return None


def listing_problems(manifest: Manifest, sizes: Mapping[str, int]) -> list[str]:
    """The differences between a manifest and a listing: shards missing, of another size, or not in the manifest.

    Args:
        manifest: the manifest.
        sizes: bytes of each listed file by its path; 0 if the listing has no sizes.
    """
    problems = []
    for path, shard in manifest.shards.items():
        if path not in sizes:
            problems.append(f"{path} is missing; {MANIFEST} names it")
        elif sizes[path] not in (0, shard.bytes):
            problems.append(f"{path} has {sizes[path]} bytes, not {shard.bytes} as {MANIFEST} says")
    extra = [path for path in sizes if path.endswith(".parquet") and path not in manifest.shards]
    return problems + [f"{path} is not in {MANIFEST}" for path in extra]


def shard_problems(manifest: Manifest, url: str) -> list[str]:
    """All differences between a manifest and the files at `url`, in sizes and digests. Reads every shard."""
    problems = listing_problems(
        manifest, {relative(one, url): listed.size for one, listed in find_listed_files(url).items()}
    )
    whole = [path for path in manifest.shards if not any(line.startswith(f"{path} ") for line in problems)]
    digests = map_in_threads(lambda path: digest_url(f"{url.rstrip('/')}/{path}"), whole)
    return problems + [
        f"{path} has another SHA-256 than {MANIFEST} says"
        for path, digest in zip(whole, digests, strict=True)
        if digest != manifest.shards[path].sha256
    ]


def check_labels_of(manifest: Manifest, found: FoundSet) -> None:
    """Raise `BadData` if classes, counts or labels differ from the manifest."""
    if found.classes != manifest.classes:
        raise BadData(f"{MANIFEST}: its classes are not those of the shards")
    if set(found.pools) != set(manifest.splits):
        raise BadData(f"{MANIFEST}: splits {', '.join(manifest.splits)} are not the shards' ({', '.join(found.pools)})")
    for name, pool in found.pools.items():
        stated, here = manifest.splits[name], label_summary(pool.labels, len(found.classes))
        if stated.images != here.images:
            raise BadData(f"{MANIFEST}: {name} has {here.images} images, not {stated.images}")
        if stated != here:
            raise BadData(f"{MANIFEST}: the labels of {name} are not those that were built")


def label_summary(labels: Labels, num_classes: int) -> LabelSummary:
    """The summary of a pool's labels for the manifest."""
    return LabelSummary(
        images=len(labels),
        per_class=tuple(np.bincount(labels, minlength=num_classes).tolist()),
        sha256=hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest(),
    )
