"""A seekable, read-only file over an object of a remote storage.

`lion_ray.store.urls.open_url` returns one for every object store. Each read is one range request, which is retried.
"""

from __future__ import annotations

import errno
import io
import os
from typing import Any

from lion_ray.store.patience import retry
from lion_ray.store.pieces import read_pieces


class RemoteFile(io.RawIOBase):
    """An object that is read range by range; transient faults of each request are retried.

    Args:
        filesystem: the fsspec filesystem that holds the object.
        path: the object's path as the filesystem spells it.
        url: the object's URL, for error messages.
        size: the object's size in bytes.
    """

    def __init__(self, filesystem: Any, path: str, url: str, size: int) -> None:
        super().__init__()
        self._filesystem, self._path, self._url, self._size, self._at = filesystem, path, url, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if at < 0:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), self._url)
        self._at = at
        return at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        part = retry(lambda: _read_range(self._filesystem, self._path, self._at, end), self._url)
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _read_range(filesystem: Any, path: str, start: int, end: int) -> bytes:
    if "s3" in protocols(filesystem):
        return read_pieces(filesystem, path, start, end)
    payload: bytes = filesystem.cat_file(path, start=start, end=end)
    return payload


def protocols(filesystem: Any) -> set[str]:
    """All protocol names of an fsspec filesystem, such as `{"s3", "s3a"}`."""
    protocol = filesystem.protocol
    return {protocol} if isinstance(protocol, str) else set(protocol)
