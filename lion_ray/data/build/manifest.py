"""`manifest.json`, the last file that a build writes: what a built set holds, and the digest of every shard.

`building` writes it, `verifying` checks every byte against it, and `source` reads a built set through `trusted`:
shards, sizes, labels and class names are compared with it at once, the images' digest is believed.
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
"""The folder of a build's notes. Without a manifest beside it the set is not whole."""

FORMAT: Literal["lion-ray dataset 1"] = "lion-ray dataset 1"


class BuiltShard(Frozen):
    """One Parquet file: SHA-256 in hex, bytes, images."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int
    images: int


class LabelFacts(Frozen):
    """The labels of one pool: how many images, how many of each class, SHA-256 of them all in order."""

    images: int
    per_class: tuple[int, ...]
    sha256: str


class Pixels(Frozen):
    """The least and the greatest width and height, upright."""

    width: tuple[int, int]
    height: tuple[int, int]


class Manifest(Frozen):
    """See the module. `digest` is that of `Source.identity`; `content` is by what a build knows its own set again;
    `repeated` is the fingerprint's, None from builds that did not look.
    """

    format: Literal["lion-ray dataset 1"] = FORMAT
    name: str
    digest: str
    encoding: str
    classes: tuple[str, ...]
    splits: Mapping[str, LabelFacts]
    split_rule: str
    source: str
    content: str
    pixels: Pixels
    shards: Mapping[str, BuiltShard]
    repeated: tuple[str, ...] | None = None

    def to_json(self) -> bytes:
        """The file."""
        return (json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n").encode()


def parse(payload: bytes) -> Manifest:
    """The manifest in a file.

    Raises:
        BadData: it is not one.
    """
    try:
        return Manifest.model_validate_json(payload)
    except ValidationError as error:
        first = error.errors()[0]
        where = ": ".join(filter(None, [MANIFEST, ".".join(map(str, first["loc"]))]))
        raise BadData(f"{where}: {first['msg']}") from error


def trusted(url: str, files: Files, read: Callable[[Files], FoundSet]) -> FoundSet:
    """`read(files)`; of a built set checked against its manifest, so that no image is read for its digest.

    Raises:
        BadData: the build has not come to its end, or shards, sizes, labels or class names are others.
    """
    manifest = find_manifest(files)
    if manifest is None:
        return read(files)
    listed = find_listed_files(url)
    placed = {path: file.url for path, file in files.items() if isinstance(file, UrlFile)}
    sizes = {path: listed[place].size for path, place in placed.items() if place in listed}
    problem = next(iter(misfits(manifest, sizes)), None)
    if problem is not None:
        raise BadData(problem)
    found = read({path: files[path] for path in files if path in manifest.shards})
    check_labels_of(manifest, found)
    known = Fingerprint(digest=manifest.digest, encoding=manifest.encoding, repeated=manifest.repeated)
    notes = () if manifest.repeated is not None else (f"{MANIFEST} does not say whether images of test are in train",)
    return dataclasses.replace(found, known=known, notes=(*found.notes, *notes))


def find_manifest(files: Files) -> Manifest | None:
    """The manifest in a listing; None if no build has written this set.

    Raises:
        BadData: it is damaged, or a build has begun and not come to its end.
    """
    if MANIFEST in files:
        return parse(files[MANIFEST].read())
    if any(path.startswith(f"{UNFINISHED}/") for path in files):
        raise BadData("its build has not come to the end; give the same `lion-ray data build` again")
    return None


def misfits(manifest: Manifest, sizes: Mapping[str, int]) -> list[str]:
    """What a listing (path → bytes, 0 if it does not know) says against it: shards missing, cut, or in excess."""
    found = []
    for path, shard in manifest.shards.items():
        if path not in sizes:
            found.append(f"{path} is missing; {MANIFEST} names it")
        elif sizes[path] not in (0, shard.bytes):
            found.append(f"{path} has {sizes[path]} bytes, not {shard.bytes} as {MANIFEST} says")
    extra = [path for path in sizes if path.endswith(".parquet") and path not in manifest.shards]
    return found + [f"{path} is not in {MANIFEST}" for path in extra]


def damage(manifest: Manifest, url: str) -> list[str]:
    """`misfits` of what lies at `url`, and the shards whose bytes have another digest: reads all of them."""
    found = misfits(manifest, {relative(one, url): listed.size for one, listed in find_listed_files(url).items()})
    whole = [path for path in manifest.shards if not any(line.startswith(f"{path} ") for line in found)]
    digests = map_in_threads(lambda path: digest_url(f"{url.rstrip('/')}/{path}"), whole)
    return found + [
        f"{path} has another SHA-256 than {MANIFEST} says"
        for path, digest in zip(whole, digests, strict=True)
        if digest != manifest.shards[path].sha256
    ]


def check_labels_of(manifest: Manifest, found: FoundSet) -> None:
    """Raise `BadData` when classes, counts or labels differ from the manifest's."""
    if found.classes != manifest.classes:
        raise BadData(f"{MANIFEST}: its classes are not those of the shards")
    if set(found.pools) != set(manifest.splits):
        raise BadData(f"{MANIFEST}: splits {', '.join(manifest.splits)} are not the shards' ({', '.join(found.pools)})")
    for name, pool in found.pools.items():
        stated, here = manifest.splits[name], labels_of(pool.labels, len(found.classes))
        if stated.images != here.images:
            raise BadData(f"{MANIFEST}: {name} has {here.images} images, not {stated.images}")
        if stated != here:
            raise BadData(f"{MANIFEST}: the labels of {name} are not those that were built")


def labels_of(labels: Labels, num_classes: int) -> LabelFacts:
    """What the manifest says of a pool's labels."""
    return LabelFacts(
        images=len(labels),
        per_class=tuple(np.bincount(labels, minlength=num_classes).tolist()),
        sha256=hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest(),
    )
