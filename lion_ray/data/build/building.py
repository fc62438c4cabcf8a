"""Any set that can be read → sharded, lossless Parquet with a manifest, at any URL that can be written.

`lion-ray data build` calls `build_named`. One shard after the other: its file first, then a note (`unfinished`); the
manifest last. A build that was killed begins behind its notes and ends with the same bytes; memory holds two shards,
however large the set is.
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
from lion_ray.data.build.manifest import MANIFEST, UNFINISHED, Manifest, Pixels, labels_of
from lion_ray.data.build.shards import SHARD_BYTES, Planned
from lion_ray.data.build.unfinished import BuildNote, BuildPlan, clear, commit, finished, note_at, note_of
from lion_ray.data.catalogue import CATALOGUE
from lion_ray.data.files import is_web
from lion_ray.data.fingerprint import Fingerprint, common, fold, repeated
from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL, FoundSet
from lion_ray.data.source import find
from lion_ray.store import BackgroundWriter, ListedFile, Store, digest, find_listed_files, identity, redacted

OnShard = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Built:
    """The manifest; how many shards were made now (none: the set was finished before)."""

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
) -> Built:
    """Find the set as a study would, at the URL `source` or else in the package that the catalogue names; build it.

    `reading` says how, as a dataset entry of a study does: `format`, `image_column`, `label_column`. `on_note` is
    called with each line on how the source was read; faults are warned of as a study does.

    Raises:
        StudyError: it cannot be found or read.
        BadData: it is not what the catalogue says of `name`.
        And what `build` raises.
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
) -> Built:
    """Write `found` to `url`, or what is missing of it. `source` is where it comes from: a URL, or words.

    Raises:
        BadData: an image is missing or broken.
        ValueError: `url` holds another finished set, or this one under another name (`force` replaces it), or other
            files, or credentials.
        StorageError: `url` cannot be written.
    """
    store = Store(url)
    if _holds(source, store.url) or _holds(store.url, source):
        raise ValueError(f"{store.url} and the source {source} lie in one another; name a place beside it")
    planned, sample = shards.plan(found, shard_bytes)
    content = _content(found, planned, sample)
    key = digest(json.dumps([content, _state(source)]).encode())
    done = finished(store, content)
    if done is not None and done.name != name and not force:
        raise ValueError(f"{store.url} holds this set, finished under the name {done.name}; --force makes it again")
    if done is not None and not force:
        store.remove(UNFINISHED)
        return Built(manifest=done, num_made=0)
    clear(store, BuildPlan(key=key, files=tuple(shard.path for shard in planned)), content, force)
    notes, num_made = _write_shards(store, found, planned, key, on_shard)
    manifest = _manifest(found, planned, notes, name=name, source=source, content=content)
    store.write(MANIFEST, manifest.to_json())
    store.remove(UNFINISHED)
    return Built(manifest=manifest, num_made=num_made)


def _content(found: FoundSet, planned: Sequence[Planned], sample: Sequence[bytes]) -> str:
    """What tells one set from another before all of it is read: classes, labels, shards and a sample of images."""
    whole = hashlib.sha256(json.dumps(found.classes).encode())
    for shard in planned:
        labels = found.pools[shard.pool].labels[shard.first : shard.first + shard.num]
        whole.update(f"{shard.path}:{shard.num}\n".encode() + labels.astype("<i8").tobytes())
    whole.update(b"".join(sample))
    return whole.hexdigest()


def _state(source: str) -> dict[str, ListedFile]:
    """The source's files as listed now: shards of a source that has changed since are not gone on with."""
    return {} if is_web(source) else find_listed_files(source)  # web servers keep no stamps


def _holds(outer: str, inner: str) -> bool:
    return f"{identity(inner)}/".startswith(f"{identity(outer)}/")


def _write_shards(
    store: Store, found: FoundSet, planned: Sequence[Planned], key: str, on_shard: OnShard
) -> tuple[dict[str, BuildNote], int]:
    """The note of every shard, and how many had to be made; one is uploaded while the next is made."""
    notes, behind, num_made = dict[str, BuildNote](), BackgroundWriter(), 0
    for number, shard in enumerate(planned):
        note = note_at(store, shard, key)
        if note is None:
            note, num_made = _make(store, found, shard, key, behind), num_made + 1
        notes[shard.path] = note
        on_shard(f"{shard.path} ({number + 1} of {len(planned)}): {note.shard.images} images")
    behind.flush()
    return notes, num_made


def _make(store: Store, found: FoundSet, shard: Planned, key: str, behind: BackgroundWriter) -> BuildNote:
    try:
        written = shards.write(found, shard)
    except BadData:
        behind.flush()  # what was made before stays
        raise
    note = note_of(written, key)
    behind.submit(partial(commit, store, shard.path, written.payload, note))
    return note


def _manifest(
    found: FoundSet,
    planned: Sequence[Planned],
    notes: Mapping[str, BuildNote],
    *,
    name: str,
    source: str,
    content: str,
) -> Manifest:
    def digests(pool: str) -> Iterator[bytes]:
        return (image for shard in planned if shard.pool == pool for image in notes[shard.path].digests())

    rule = "one pool in the source's order, which a study cuts" if POOL in found.pools else "as the source names them"
    skipped = ", ".join(f"{num} of {pool}" for pool, num in found.skipped.items())
    rule += f"; without {skipped} that could not be decoded" if skipped else ""
    return Manifest(
        name=name,
        digest=fold({pool: (digests(pool), members.labels) for pool, members in found.pools.items()}),
        encoding=common({encoding for note in notes.values() for encoding in note.encodings}),
        classes=found.classes,
        splits={pool: labels_of(members.labels, len(found.classes)) for pool, members in found.pools.items()},
        split_rule=rule,
        source=redacted(source),
        content=content,
        pixels=_extremes([note.pixels for note in notes.values()]),
        shards={path: note.shard for path, note in notes.items()},
        repeated=repeated({pool: digests(pool) for pool in found.pools}),
    )


def _extremes(parts: Sequence[Pixels]) -> Pixels:
    sides = [[getattr(part, side) for part in parts] for side in ("width", "height")]
    width, height = ((min(low for low, _ in side), max(high for _, high in side)) for side in sides)
    return Pixels(width=width, height=height)
