"""What a build leaves while it is under way: the folder `unfinished/`, and what may be gone on with.

`building` writes a `BuildNote` behind every shard. Only shards that are as noted count; a note counts only for the same
set from the same state of its source.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from lion_ray.config import Frozen
from lion_ray.data.build.manifest import MANIFEST, UNFINISHED, BuiltShard, Manifest, Pixels, damage, parse
from lion_ray.data.build.shards import Planned, Written
from lion_ray.store import Store, digest, digest_url

PLAN = f"{UNFINISHED}/plan.json"


class BuildPlan(Frozen):
    """What is being built, and every shard that it or what it replaces may have left."""

    key: str
    files: tuple[str, ...]


class BuildNote(Frozen):
    """A finished shard: its digest, and its images' digests (base64, 32 bytes each), encodings and sizes."""

    key: str
    shard: BuiltShard
    images: str
    encodings: tuple[str, ...]
    pixels: Pixels

    def digests(self) -> Iterator[bytes]:
        """What enters the content digest, image by image."""
        joined = base64.b64decode(self.images)
        yield from (joined[at : at + 32] for at in range(0, len(joined), 32))


def finished(store: Store, content: str) -> Manifest | None:
    """The manifest of a whole set of this content whose shards all have their digests."""
    manifest = _manifest_at(store)
    if manifest is None or manifest.content != content or damage(manifest, store.url):
        return None
    return manifest


def _manifest_at(store: Store) -> Manifest | None:
    payload = store.read(MANIFEST)
    return None if payload is None else parse(payload)


def clear(store: Store, plan: BuildPlan, content: str, force: bool) -> None:
    """Make room: refuse what is not ours to replace, then take away what is no part of this build.

    Raises:
        ValueError: another finished set is there and not to be replaced, or files that no build has written.
    """
    listed, old, before = store.listing(), _manifest_at(store), _plan_at(store)
    if old is not None and old.content != content and not force:
        raise ValueError(f"{store.url} holds another finished set ({old.name}, {old.digest[:8]}); --force replaces it")
    if listed and old is None and before is None:
        raise ValueError(
            f"{store.url} holds files that no build has written, such as {min(listed)}; name an empty place"
        )
    ours = {*plan.files, *(old.shards if old else ()), *(before.files if before else ())}
    store.write(PLAN, BuildPlan(key=plan.key, files=tuple(sorted(ours))).model_dump_json().encode())
    store.remove(MANIFEST)
    for path in listed:
        shard, _, rest = path.partition(".parquet")
        is_part = path.endswith(".part")  # a killed write of a local file
        if is_part or (f"{shard}.parquet" in ours - {*plan.files} and not rest):
            store.remove(path)


def _plan_at(store: Store) -> BuildPlan | None:
    payload = store.read(PLAN)
    return None if payload is None else BuildPlan.model_validate_json(payload)


def commit(store: Store, path: str, payload: bytes, note: BuildNote) -> None:
    """The shard, then its note: a kill leaves both, or nothing that counts."""
    store.write(path, payload)
    store.write(f"{UNFINISHED}/{path}.json", note.model_dump_json().encode())


def note_of(written: Written, key: str) -> BuildNote:
    """The note of a shard that is about to be committed."""
    heights, widths = zip(*written.sizes, strict=True)
    return BuildNote(
        key=key,
        shard=BuiltShard(sha256=digest(written.payload), bytes=len(written.payload), images=len(written.marks)),
        images=base64.b64encode(b"".join(image for image, _ in written.marks)).decode(),
        encodings=tuple(sorted({encoding for _, encoding in written.marks})),
        pixels=Pixels(width=(min(widths), max(widths)), height=(min(heights), max(heights))),
    )


def note_at(store: Store, shard: Planned, key: str) -> BuildNote | None:
    """The note of a shard that is there as noted."""
    payload = store.read(f"{UNFINISHED}/{shard.path}.json")
    note = None if payload is None else BuildNote.model_validate_json(payload)
    if note is None or note.key != key:
        return None
    try:
        return note if digest_url(f"{store.url}/{shard.path}") == note.shard.sha256 else None
    except FileNotFoundError:
        return None
