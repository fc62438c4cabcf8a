"""One URL at a time: filesystems, reading, writing, listing. For who reads a user's URL, and for `Store`."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Any, NamedTuple

from lion_ray.store.filesystems import as_url, filesystem_of, is_marker
from lion_ray.store.patience import persist
from lion_ray.store.pieces import read_pieces
from lion_ray.store.remote_file import RemoteFile, protocols

PART_BYTES = 16 * 2**20  # S3 takes what is twice as long or longer in parts of this size
READ_AHEAD_BYTES = 2**20
STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"}


class Listed(NamedTuple):
    """What a listing says of a file: its bytes, and a stamp that changes when it is written with other bytes."""

    size: int
    stamp: str


def open_url(url: str) -> IO[bytes]:
    """Open any fsspec URL or local path for reading; use as a context manager. An outage in the middle is waited out.

    Raises:
        OSError: the built-in errors (`FileNotFoundError`, `PermissionError`, ...); a pipe or device, which may have no
            end.
    """
    filesystem, path = persist(lambda: filesystem_of(url), url)
    persist(lambda: _refuse_endless(filesystem, path), url)
    if protocols(filesystem) & OBJECT_STORES:
        size = int(persist(lambda: filesystem.info(path), url)["size"])
        return io.BufferedReader(RemoteFile(filesystem, path, url, size), READ_AHEAD_BYTES)
    opened: IO[bytes] = persist(lambda: filesystem.open(path, "rb"), url)
    return opened


def read_url(url: str) -> bytes:
    """The bytes at any fsspec URL or local path.

    Raises:
        OSError: they cannot be read; no other error, whatever the filesystem's own package raises. It names the URL.
    """

    def read() -> bytes:
        filesystem, path = filesystem_of(url)
        _refuse_endless(filesystem, path)
        return read_file(filesystem, path)

    return persist(read, url)


def read_up_to(file: IO[bytes], num_bytes: int) -> bytes:
    """The next `num_bytes` of a file, fewer at its end; memory holds what is there, whatever is asked for."""
    parts: list[bytes] = []
    while num_bytes > 0 and (part := file.read(min(num_bytes, READ_AHEAD_BYTES))):
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)


def size_of(url: str) -> int | None:
    """How many bytes a file has; None if its storage does not say.

    Raises:
        OSError: it is not there, or is a pipe or device.
    """

    def look() -> int | None:
        filesystem, path = filesystem_of(url)
        _refuse_endless(filesystem, path)
        size = filesystem.info(path).get("size")
        return None if size is None else int(size)

    return persist(look, url)


def _refuse_endless(filesystem: Any, path: str) -> None:
    """A pipe waits for whoever writes, a device may never end: only files of this machine have such kinds."""
    if "file" not in protocols(filesystem):
        return
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder, opening says what it is
        raise OSError(errno.EINVAL, "it is no regular file", path)


def read_range(url: str, start: int, end: int) -> bytes:
    """The bytes `start` to `end` (exclusive) at any fsspec URL, in one request.

    Raises:
        OSError: they cannot be read, the file ends before `end`, or a web server sends something else than the range.
    """

    def read() -> bytes:
        filesystem, path = filesystem_of(url)
        payload: bytes = filesystem.cat_file(path, start=start, end=end)
        return payload

    payload = persist(read, url) if end > start else b""
    if len(payload) != end - start:
        advice = "; if the server ignores ranges, give simplecache::URL" if len(payload) > end - start else ""
        raise OSError(errno.EIO, f"{len(payload)} bytes came for bytes {start} to {end}{advice}", url)
    return payload


def digest_url(url: str) -> str:
    """SHA-256, in hex, of the bytes at a URL; a block of them is in memory.

    Raises:
        OSError: they cannot be read.
    """
    whole = hashlib.sha256()
    with open_url(url) as file:
        while block := file.read(READ_AHEAD_BYTES):
            whole.update(block)
    return whole.hexdigest()


def write_url(url: str, payload: bytes) -> None:
    """Put `payload` at any fsspec URL or local path in one piece; what was there is replaced.

    Raises:
        OSError: it cannot be written.
    """

    def write() -> None:
        filesystem, path = filesystem_of(url)
        write_file(filesystem, path, payload)

    persist(write, url)


def find_files(url: str) -> list[str]:
    """The sorted URLs of all files below `url`; itself if it is one file; empty if nothing is there."""
    filesystem, path = filesystem_of(url)
    try:
        found: list[str] = persist(lambda: filesystem.find(path), url)
    except FileNotFoundError:
        return []
    return sorted(as_url(filesystem, each, url) for each in found if not is_marker(each))


def find_listed(url: str) -> dict[str, Listed]:
    """What a listing says of each file below `url`, by its URL, as another process may just have left it."""
    filesystem, path = filesystem_of(url)
    filesystem.invalidate_cache()
    try:
        found = persist(lambda: filesystem.find(path, detail=True), url)
    except FileNotFoundError:
        return {}
    return {as_url(filesystem, each, url): as_listed(found[each]) for each in sorted(found) if not is_marker(each)}


def as_listed(entry: Mapping[str, Any]) -> Listed:
    """One entry of a filesystem's listing."""
    return Listed(int(entry["size"] or 0), next((str(entry[name]) for name in STAMPS if entry.get(name)), ""))


def read_file(filesystem: Any, path: str) -> bytes:
    """All of a file; on S3 in one request, which needs no size first."""
    if "s3" in protocols(filesystem):
        return read_pieces(filesystem, path)
    payload: bytes = filesystem.cat_file(path)
    return payload


def write_file(filesystem: Any, path: str, payload: bytes) -> None:
    """Replace a file: a reader sees the old one or the new one, never a part."""
    names = protocols(filesystem)
    if "file" not in names:  # object stores and memory:// replace a whole object at once
        filesystem.pipe_file(path, payload, **({"chunksize": PART_BYTES} if "s3" in names else {}))
        return
    filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
    part = f"{path}.{uuid.uuid4().hex}.part"
    try:
        filesystem.pipe_file(part, payload)
        os.replace(part, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.remove(part)  # a full disk keeps no half of it
        raise
