"""Writing any dataset that can be read as sharded, lossless Parquet with a manifest, at any URL that can be written.

`lion_ray.cli.data` calls `build_named` for `lion-ray data build`. Shards are written one after the other, each followed
by a record of it (`unfinished`); the manifest is written last. A build that was killed continues after its last record
and ends with the same bytes. At most two shards are in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from lion_ray.config import DataConfig, DatasetConfig, validate
from lion_ray.data.build import shards
from lion_ray.data.build.manifest import MANIFEST, UNFINISHED, ImageSizes, Manifest, label_summary
from lion_ray.data.build.shards import SHARD_BYTES, PlannedShard
from lion_ray.data.build.unfinished import (
    BuildPlan,
    ShardRecord,
    commit,
    finished_manifest,
    prepare_place,
    shard_record,
    stored_shard_record,
)
from lion_ray.data.catalogue import CATALOGUE
from lion_ray.data.files import is_web
from lion_ray.data.fingerprint import Fingerprint, common_encoding, content_digest, repeated_images
from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL, FoundSet
from lion_ray.data.source import find
from lion_ray.store import BackgroundWriter, ListedFile, Store, digest, find_listed_files, identity, redacted

OnShard = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class BuiltSet:
    """A built dataset: its manifest, and how many shards were written now (0 if it was already finished)."""

    manifest: Manifest
    num_made: int


def build_named(
    name: str,
    source: str | None,
    url: str,
    *,
    force: bool = False,
    on_bad_image: Literal["error", "skip"] = "error",
    on_shard: OnShard = lambda _: None,
    on_note: OnShard = lambda _: None,
    **reading: str | None,
) -> BuiltSet:
    """Read a dataset as a study would, and build it.

    Args:
        name: the dataset's name; a name of the catalogue is checked against its entry.
        source: the URL to read; None reads the Python package that the catalogue names.
        url: where the built dataset is written.
        force: replace another finished dataset at `url`.
        on_bad_image: whether an image that cannot be decoded is an error or is skipped.
        on_shard: called with a line after each shard.
        on_note: called with each line on how the source was read.
        reading: `format`, `image_column` and `label_column`, as in a dataset entry of a study.

    Raises:
        StudyError: the dataset cannot be found or read.
        BadData: it differs from the catalogue's entry of `name`, or an image is missing or broken.
        ValueError, StorageError: see `build`.
    """
    config = validate(DatasetConfig, {"name": name, "url": source, **reading}, source="")
    read, entry = find(config, DataConfig(on_bad_image=on_bad_image), source=""), CATALOGUE.get(name)
    found = read.found
    for note in read.notes:
        on_note(note)
    origin = source or f"package {entry.package.name if entry and entry.package else name}"
    if entry is not None:
        found = entry.checked(found)
    built = build(found, url, name=name, source=origin, force=force, on_shard=on_shard)
    known = Fingerprint(
        digest=built.manifest.digest, encoding=built.manifest.encoding, repeated=built.manifest.repeated
    )
    replace(read, found=replace(found, known=known)).warn_of_faults()
    return built


def build(
    found: FoundSet,
    url: str,
    *,
    name: str,
    source: str,
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
    on_shard: OnShard = lambda _: None,
) -> BuiltSet:
    """Write a dataset to `url`, or the shards of it that are missing there.

    Args:
        found: the dataset.
        url: where it is written.
        name: its name, for the manifest.
        source: where it comes from, for the manifest: a URL or a description.
        force: replace another finished dataset, or this one under another name.
        shard_bytes: approximate size of a shard in bytes.
        on_shard: called with a line after each shard.

    Raises:
        BadData: an image is missing or broken.
        ValueError: `url` holds another finished dataset (`force` replaces it), other files, or credentials; or `url`
            and `source` lie inside one another.
        StorageError: `url` cannot be written.
    """
    store = Store(url)
    if _holds(source, store.url) or _holds(store.url, source):
        raise ValueError(f"{store.url} and the source {source} lie in one another; name a place beside it")
    planned, sample = shards.plan(found, shard_bytes)
    content = _content(found, planned, sample)
    key = digest(json.dumps([content, _state(source)]).encode())
    done = finished_manifest(store, content)
    if done is not None and done.name != name and not force:
        raise ValueError(f"{store.url} holds this set, finished under the name {done.name}; --force makes it again")
    if done is not None and not force:
        store.remove(UNFINISHED)
        return BuiltSet(manifest=done, num_made=0)
    prepare_place(store, BuildPlan(key=key, files=tuple(shard.path for shard in planned)), content, force)
    records, num_made = _write_shards(store, found, planned, key, on_shard)
    manifest = _manifest(found, planned, records, name=name, source=source, content=content)
    store.write(MANIFEST, manifest.to_json())
    store.remove(UNFINISHED)
    return BuiltSet(manifest=manifest, num_made=num_made)


def _content(found: FoundSet, planned: Sequence[PlannedShard], sample: Sequence[bytes]) -> str:
    """A digest that identifies a dataset before all images are read: of classes, labels, shards and sampled images."""
    whole = hashlib.sha256(json.dumps(found.classes).encode())
    for shard in planned:
        labels = found.pools[shard.pool].labels[shard.first : shard.first + shard.num]
        whole.update(f"{shard.path}:{shard.num}\n".encode() + labels.astype("<i8").tobytes())
    whole.update(b"".join(sample))
    return whole.hexdigest()


def _state(source: str) -> dict[str, ListedFile]:
    """The source's files as listed now. Shards that were written from an older state of the source are not reused."""
    return {} if is_web(source) else find_listed_files(source)  # web servers list no stamps


def _holds(outer: str, inner: str) -> bool:
    return f"{identity(inner)}/".startswith(f"{identity(outer)}/")


def _write_shards(
    store: Store, found: FoundSet, planned: Sequence[PlannedShard], key: str, on_shard: OnShard
) -> tuple[dict[str, ShardRecord], int]:
    """The record of every shard, and how many were written now. One is uploaded while the next is encoded."""
    records, writer, num_made = dict[str, ShardRecord](), BackgroundWriter(), 0
    for number, shard in enumerate(planned):
        record = stored_shard_record(store, shard, key)
        if record is None:
            record, num_made = _make(store, found, shard, key, writer), num_made + 1
        records[shard.path] = record
        on_shard(f"{shard.path} ({number + 1} of {len(planned)}): {record.shard.images} images")
    writer.flush()
    return records, num_made


def _make(store: Store, found: FoundSet, shard: PlannedShard, key: str, writer: BackgroundWriter) -> ShardRecord:
    try:
        written = shards.write(found, shard)
    except BadData:
        writer.flush()  # the shards before the broken image are kept
        raise
    record = shard_record(written, key)
    writer.submit(partial(commit, store, shard.path, written.payload, record))
    return record


def _manifest(
    found: FoundSet,
    planned: Sequence[PlannedShard],
    records: Mapping[str, ShardRecord],
    *,
    name: str,
    source: str,
    content: str,
) -> Manifest:
    def digests(pool: str) -> Iterator[bytes]:
        return (image for shard in planned if shard.pool == pool for image in records[shard.path].digests())

    rule = "one pool in the source's order, which a study cuts" if POOL in found.pools else "as the source names them"
    skipped = ", ".join(f"{num} of {pool}" for pool, num in found.skipped.items())
    rule += f"; without {skipped} that could not be decoded" if skipped else ""
    return Manifest(
        name=name,
        digest=content_digest({pool: (digests(pool), members.labels) for pool, members in found.pools.items()}),
        encoding=common_encoding({encoding for record in records.values() for encoding in record.encodings}),
        classes=found.classes,
        splits={pool: label_summary(members.labels, len(found.classes)) for pool, members in found.pools.items()},
        split_rule=rule,
        source=redacted(source),
        content=content,
        pixels=_extremes([record.pixels for record in records.values()]),
        shards={path: record.shard for path, record in records.items()},
        repeated=repeated_images({pool: digests(pool) for pool in found.pools}),
    )


def _extremes(parts: Sequence[ImageSizes]) -> ImageSizes:
    sides = [[getattr(part, side) for part in parts] for side in ("width", "height")]
    width, height = ((min(low for low, _ in side), max(high for _, high in side)) for side in sides)
    return ImageSizes(width=width, height=height)
