"""The fsspec filesystem of a place, and the URLs of the files that it lists.

`lion_ray.store.urls` and `lion_ray.store.artifacts` get every filesystem here. No other module calls the constructors
of fsspec, so that retries and time-outs are set in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import fsspec
from fsspec.core import url_to_fs

from lion_ray.store.places import canonical, is_chain, is_local, with_account

S3_CONFIG = {"retries": {"total_max_attempts": 1}, "max_pool_connections": 64, "connect_timeout": 5, "read_timeout": 15}


def filesystem_of(url: str) -> tuple[Any, str]:
    """The filesystem of `url`, and the path of `url` on it.

    The filesystem's own retries are switched off, because `lion_ray.store.patience.retry` repeats each operation.

    Raises:
        ValueError: the protocol is unknown, or the text looks like a URL and is not one (see `places`).
        ImportError: the filesystem's package is not installed.
    """
    place = canonical(url)
    if is_local(place):
        return fsspec.filesystem("file"), place
    is_s3 = place.startswith(("s3://", "s3a://"))
    options: Mapping[str, Any] = {"config_kwargs": S3_CONFIG, "use_listings_cache": False} if is_s3 else {}
    if is_chain(place):
        filesystem_and_path: tuple[Any, str] = url_to_fs(place)
        return filesystem_and_path
    # `url_to_fs` would split an object's name at `::`.
    kind = fsspec.get_filesystem_class(place.partition("://")[0])
    filesystem = kind(**{**kind._get_kwargs_from_urls(place), **options})
    if is_s3:
        filesystem.retries = 1
    return filesystem, kind._strip_protocol(place)


def is_marker(path: str) -> bool:
    """Whether a key of an object store only stands for a folder. Web consoles and Hadoop write such keys."""
    return path.endswith(("/", "_$folder$"))


def as_url(filesystem: Any, path: str, place: str) -> str:
    """The URL of a file that `filesystem` lists.

    Args:
        filesystem: the filesystem that `filesystem_of(place)` returned.
        path: the file's path as the filesystem spells it.
        place: the URL that was listed; an Azure account in it is kept.
    """
    url: str = filesystem.unstrip_protocol(path)
    return with_account(path, canonical(place), url)
