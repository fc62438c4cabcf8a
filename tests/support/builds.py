"""Small builds for tests: what was built, file by file."""

from __future__ import annotations

from lion_ray.data.build.building import BuiltSet, build
from lion_ray.store import Store
from tests.support.image_sets import look

SMALL = 4000
"""Bytes of a shard, so that train has several."""


def make(source: str, url: str, *, force: bool = False) -> BuiltSet:
    return build(look(source).found, url, name="mine", source=source, shard_bytes=SMALL, force=force)


def first(tree: dict[str, bytes], split: str) -> str:
    """The name of a split's first shard."""
    return min(path for path in tree if path.startswith(split))


def tree(url: str) -> dict[str, bytes]:
    store = Store(url)
    return {path: store.read(path) or b"" for path in store.paths()}
