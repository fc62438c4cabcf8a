"""Reading an S3 object in pieces, each within a time limit.

A socket's time-out only notices silence, not a server that sends a few bytes at a time. Such a server counts as one
that does not answer. `lion_ray.store.urls` and `lion_ray.store.remote_file` read everything on S3 with `read_pieces`,
and retry a piece that was too slow.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fsspec.asyn import sync

PIECE_BYTES = 2**20
PIECE_SECONDS = 60.0  # the limit is about 17 KiB/s


def read_pieces(filesystem: Any, path: str, start: int | None = None, end: int | None = None) -> bytes:
    """Read an S3 object, whole or in part.

    Args:
        filesystem: an `s3fs.S3FileSystem`.
        path: the object's path on it, `bucket/key`.
        start: first byte; None reads the whole object.
        end: byte after the last one; None reads the whole object.

    Raises:
        TimeoutError: a piece took longer than `PIECE_SECONDS`.
        Exception: any error of s3fs.
    """
    payload: bytes = sync(filesystem.loop, _read, filesystem, path, start, end)
    return payload


async def _read(filesystem: Any, path: str, start: int | None, end: int | None) -> bytes:
    bucket, key, version = filesystem.split_path(path)
    arguments = {"VersionId": version} if version else {}
    if start is not None and end is not None:
        arguments["Range"] = f"bytes={start}-{end - 1}"
    response = await filesystem._call_s3("get_object", Bucket=bucket, Key=key, **arguments)
    pieces: list[bytes] = []
    try:
        while not pieces or pieces[-1]:
            pieces.append(await asyncio.wait_for(_piece(response["Body"]), PIECE_SECONDS))
    finally:
        response["Body"].close()
    return b"".join(pieces)


async def _piece(body: Any) -> bytes:
    """The next `PIECE_BYTES` bytes; fewer only at the end of the object."""
    parts: list[bytes] = []
    left = PIECE_BYTES
    while left and (part := await body.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
