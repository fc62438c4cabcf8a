"""Reading, writing and listing of single URLs, with retries.

`lion_ray.data`, `lion_ray.backbones` and `lion_ray.ticket` read users' URLs here. `lion_ray.store.artifacts.Store` is
built on `read_file` and `write_file`.
"""

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
from lion_ray.store.patience import retry
from lion_ray.store.pieces import read_pieces
from lion_ray.store.remote_file import RemoteFile, protocols

PART_BYTES = 16 * 2**20  # an object of twice this size or more is uploaded to S3 in parts
READ_AHEAD_BYTES = 2**20
STAMPS = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "updated", "created")
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl"}


class ListedFile(NamedTuple):
    """A file as a listing shows it.

    Attributes:
        size: bytes.
        stamp: an ETag, checksum or time that changes when other bytes are written; empty if the storage has none.
    """

    size: int
    stamp: str


def open_url(url: str) -> IO[bytes]:
    """Open any fsspec URL or local path for reading, as a context manager. On an object store every read is retried.

    Raises:
        OSError: the file cannot be opened (`FileNotFoundError`, `PermissionError`, ...), or it is a pipe or device,
            which may have no end.
    """

    def opened() -> IO[bytes]:
        filesystem, path = filesystem_of(url)
        _refuse_endless(filesystem, path)
        if protocols(filesystem) & OBJECT_STORES:
            size = int(filesystem.info(path)["size"])
            return io.BufferedReader(RemoteFile(filesystem, path, url, size), READ_AHEAD_BYTES)
        file: IO[bytes] = filesystem.open(path, "rb")
        return file

    return retry(opened, url)  # as one: what makes no request does not tell that the host has answered


def read_url(url: str) -> bytes:
    """The bytes at any fsspec URL or local path.

    Raises:
        OSError: they cannot be read; the error names the URL. Errors of the filesystem's package are converted.
    """

    def read() -> bytes:
        filesystem, path = filesystem_of(url)
        _refuse_endless(filesystem, path)
        return read_file(filesystem, path)

    return retry(read, url)


def read_up_to(file: IO[bytes], num_bytes: int) -> bytes:
    """The next `num_bytes` of a file; fewer at its end.

    No more memory is allocated than the file has bytes, so a wrong `num_bytes` from a damaged header does no harm.
    """
    parts: list[bytes] = []
    while num_bytes > 0 and (part := file.read(min(num_bytes, READ_AHEAD_BYTES))):
        parts.append(part)
        num_bytes -= len(part)
    return b"".join(parts)


def size_of(url: str) -> int | None:
    """The size of a file in bytes; None if its storage does not report sizes.

    Raises:
        OSError: the file is missing, or it is a pipe or device.
    """

    def look() -> int | None:
        filesystem, path = filesystem_of(url)
        _refuse_endless(filesystem, path)
        size = filesystem.info(path).get("size")
        return None if size is None else int(size)

    return retry(look, url)


def _refuse_endless(filesystem: Any, path: str) -> None:
    """Raise OSError for a local pipe or device: reading a pipe may block, and a device may have no end."""
    if "file" not in protocols(filesystem):
        return
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # opening a folder raises a clear error by itself
        raise OSError(errno.EINVAL, "it is no regular file", path)


def read_range(url: str, start: int, end: int) -> bytes:
    """Part of the file at any fsspec URL or local path, in one request.

    Args:
        url: the file.
        start: the first byte.
        end: the byte after the last one.

    Raises:
        OSError: the range cannot be read, the file ends before `end`, or a web server ignores the range.
    """

    def read() -> bytes:
        filesystem, path = filesystem_of(url)
        payload: bytes = filesystem.cat_file(path, start=start, end=end)
        return payload

    payload = retry(read, url) if end > start else b""
    if len(payload) != end - start:
        advice = "; if the server ignores ranges, give simplecache::URL" if len(payload) > end - start else ""
        raise OSError(errno.EIO, f"{len(payload)} bytes came for bytes {start} to {end}{advice}", url)
    return payload


def digest_url(url: str) -> str:
    """The SHA-256, in hexadecimal, of the bytes at a URL. Only one block of them is in memory at a time.

    Raises:
        OSError: the bytes cannot be read.
    """
    whole = hashlib.sha256()
    with open_url(url) as file:
        while block := file.read(READ_AHEAD_BYTES):
            whole.update(block)
    return whole.hexdigest()


def write_url(url: str, payload: bytes) -> None:
    """Write `payload` to any fsspec URL or local path atomically. An existing file is replaced.

    Raises:
        OSError: the file cannot be written.
    """

    def write() -> None:
        filesystem, path = filesystem_of(url)
        write_file(filesystem, path, payload)

    retry(write, url)


def find_files(url: str) -> list[str]:
    """The sorted URLs of all files below `url`; `url` itself if it is a file; an empty list if nothing is there."""
    filesystem, path = filesystem_of(url)
    try:
        found: list[str] = retry(lambda: filesystem.find(path), url)
    except FileNotFoundError:
        return []
    return sorted(as_url(filesystem, each, url) for each in found if not is_marker(each))


def find_listed_files(url: str) -> dict[str, ListedFile]:
    """Size and stamp of each file below `url`, by the file's URL; empty if nothing is there.

    Cached listings are dropped first, so files that other processes have just written are listed too.
    """
    filesystem, path = filesystem_of(url)
    filesystem.invalidate_cache()
    try:
        found = retry(lambda: filesystem.find(path, detail=True), url)
    except FileNotFoundError:
        return {}
    return {as_url(filesystem, each, url): as_listed_file(found[each]) for each in sorted(found) if not is_marker(each)}


def as_listed_file(entry: Mapping[str, Any]) -> ListedFile:
    """Convert an entry of an fsspec listing (`find(detail=True)`)."""
    return ListedFile(int(entry["size"] or 0), next((str(entry[name]) for name in STAMPS if entry.get(name)), ""))


def read_file(filesystem: Any, path: str) -> bytes:
    """The bytes of a whole file. On S3 this is one request; fsspec would first ask for the size."""
    if "s3" in protocols(filesystem):
        return read_pieces(filesystem, path)
    payload: bytes = filesystem.cat_file(path)
    return payload


def write_file(filesystem: Any, path: str, payload: bytes) -> None:
    """Write a file atomically: a reader sees the old file or the new one, never a part.

    Args:
        filesystem: the fsspec filesystem to write to.
        path: the file's path as the filesystem spells it.
        payload: the bytes to write.
    """
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
            os.remove(part)  # a write that failed, as on a full disk, leaves no partial file
        raise
