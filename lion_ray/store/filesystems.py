"""The filesystem of a place, and the URL of what it lists: the one door to fsspec's own constructors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from lion_ray.store.places import canonical, is_chain, is_local, with_account

S3_CONFIG = {"retries": {"total_max_attempts": 1}, "max_pool_connections": 64, "connect_timeout": 5, "read_timeout": 15}


def filesystem_of(url: str) -> tuple[Any, str]:
    """The filesystem of `url` and the path on it; its own repetitions are off, `persist` repeats.

    Raises:
        ValueError: an unknown protocol, or a place that looks like a URL and is none (see `places`).
        ImportError: its filesystem package is not installed.
    """
    place = canonical(url)
    if is_local(place):
        return fsspec.filesystem("file"), place
    is_s3 = place.startswith(("s3://", "s3a://"))
    options: Mapping[str, Any] = {"config_kwargs": S3_CONFIG, "use_listings_cache": False} if is_s3 else {}
    if is_chain(place):
        found: tuple[Any, str] = url_to_fs(place)
        return found
    kind = fsspec.get_filesystem_class(place.partition("://")[0])  # `::` in the name of an object is part of it
    filesystem = kind(**{**kind._get_kwargs_from_urls(place), **options})
    if is_s3:
        filesystem.retries = 1
    return filesystem, kind._strip_protocol(place)


def is_marker(path: str) -> bool:
    """Whether an object store's key stands for a folder, as consoles and Hadoop leave them: no file at all."""
    return path.endswith(("/", "_$folder$"))


def as_url(filesystem: Any, path: str, place: str) -> str:
    """The URL of `path`, as a listing of `place` or its filesystem names it."""
    url: str = filesystem.unstrip_protocol(path)
    return with_account(path, canonical(place), url)
