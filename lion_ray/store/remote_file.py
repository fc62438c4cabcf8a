"""An object of a remote storage as a file that can be read anywhere: what `urls.open_url` gives."""

from __future__ import annotations

import errno
import io
import os
from typing import Any

from lion_ray.store.patience import persist
from lion_ray.store.pieces import read_pieces


class RemoteFile(io.RawIOBase):
    """An object read range by range, each with patience."""

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
        part = persist(lambda: _read_range(self._filesystem, self._path, self._at, end), self._url)
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _read_range(filesystem: Any, path: str, start: int, end: int) -> bytes:
    if "s3" in protocols(filesystem):
        return read_pieces(filesystem, path, start, end)
    payload: bytes = filesystem.cat_file(path, start=start, end=end)
    return payload


def protocols(filesystem: Any) -> set[str]:
    """The names that a filesystem goes by."""
    protocol = filesystem.protocol
    return {protocol} if isinstance(protocol, str) else set(protocol)
