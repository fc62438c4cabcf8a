"""The state of a build that is not finished: the folder `unfinished/` and the shards that a second run may reuse.

`building` writes a `ShardRecord` after every shard. A shard is reused only if it has the digest of its record, and if
the record belongs to the same dataset and the same state of its source.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from lion_ray.config import Frozen
from lion_ray.data.build.manifest import MANIFEST, UNFINISHED, BuiltShard, ImageSizes, Manifest, parse, shard_problems
from lion_ray.data.build.shards import PlannedShard, WrittenShard
from lion_ray.store import Store, digest, digest_url

PLAN = f"{UNFINISHED}/plan.json"


class BuildPlan(Frozen):
    """The key of the dataset that is built, and the paths of all shards that this or earlier builds may have left."""

    key: str
    files: tuple[str, ...]


class ShardRecord(Frozen):
    """A finished shard, with the digests (base64, 32 bytes each), encodings and sizes of its images."""

    key: str
    shard: BuiltShard
    images: str
    encodings: tuple[str, ...]
    pixels: ImageSizes

    def digests(self) -> Iterator[bytes]:
        """The digests of the images, in order."""
        joined = base64.b64decode(self.images)
        yield from (joined[at : at + 32] for at in range(0, len(joined), 32))


def finished_manifest(store: Store, content: str) -> Manifest | None:
    """The manifest of a finished dataset with this content and intact shards; None if there is none."""
    manifest = _manifest_at(store)
    if manifest is None or manifest.content != content or shard_problems(manifest, store.url):
        return None
    return manifest


def _manifest_at(store: Store) -> Manifest | None:
    payload = store.read(MANIFEST)
    return None if payload is None else parse(payload)


def prepare_place(store: Store, plan: BuildPlan, content: str, force: bool) -> None:
    """Check that the build may write to `store`, write its plan, and remove files that are no part of it.

    Args:
        store: where the dataset is built.
        plan: the shards of this build.
        content: the digest that identifies this dataset.
        force: replace another finished dataset.

    Raises:
        ValueError: another finished dataset is there without `force`, or files that no build has written.
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
        is_part = path.endswith(".part")  # left by a local write that was killed
        if is_part or (f"{shard}.parquet" in ours - {*plan.files} and not rest):
            store.remove(path)


def _plan_at(store: Store) -> BuildPlan | None:
    payload = store.read(PLAN)
    return None if payload is None else BuildPlan.model_validate_json(payload)


def commit(store: Store, path: str, payload: bytes, record: ShardRecord) -> None:
    """Write the shard, then its record. A shard without a record is written again.

    Args:
        store: where the dataset is built.
        path: the shard's path.
        payload: the shard's bytes.
        record: the shard's record.
    """
    store.write(path, payload)
    store.write(f"{UNFINISHED}/{path}.json", record.model_dump_json().encode())


def shard_record(written: WrittenShard, key: str) -> ShardRecord:
    """The record of a shard that is about to be written."""
    heights, widths = zip(*written.sizes, strict=True)
    return ShardRecord(
        key=key,
        shard=BuiltShard(sha256=digest(written.payload), bytes=len(written.payload), images=len(written.digests)),
        images=base64.b64encode(b"".join(image for image, _ in written.digests)).decode(),
        encodings=tuple(sorted({encoding for _, encoding in written.digests})),
        pixels=ImageSizes(width=(min(widths), max(widths)), height=(min(heights), max(heights))),
    )


def stored_shard_record(store: Store, shard: PlannedShard, key: str) -> ShardRecord | None:
    """The record of a shard that is stored with the digest of its record; None otherwise.

    Args:
        store: where the dataset is built.
        shard: the planned shard.
        key: the key of the dataset and of its source's state.
    """
    payload = store.read(f"{UNFINISHED}/{shard.path}.json")
    record = None if payload is None else ShardRecord.model_validate_json(payload)
    if record is None or record.key != key:
        return None
    try:
        return record if digest_url(f"{store.url}/{shard.path}") == record.shard.sha256 else None
    except FileNotFoundError:
        return None
