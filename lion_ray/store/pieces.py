"""Reading an S3 object piece by piece, each within its time: a server that drips bytes is one that does not answer.

Time-outs of sockets only see silence. `urls` reads everything on S3 through here; what is too slow is repeated there.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fsspec.asyn import sync

PIECE_BYTES = 2**20
PIECE_SECONDS = 60.0  # slower than 17 KiB/s


def read_pieces(filesystem: Any, path: str, start: int | None = None, end: int | None = None) -> bytes:
    """All of an object, or its bytes from `start` up to `end`.

    Raises:
        TimeoutError: a piece took too long.
        Exception: what s3fs raises.
    """
    payload: bytes = sync(filesystem.loop, _read, filesystem, path, start, end)
    return payload


async def _read(filesystem: Any, path: str, start: int | None, end: int | None) -> bytes:
    bucket, key, version = filesystem.split_path(path)
    asked = {"VersionId": version} if version else {}
    if start is not None and end is not None:
        asked["Range"] = f"bytes={start}-{end - 1}"
    response = await filesystem._call_s3("get_object", Bucket=bucket, Key=key, **asked)
    pieces: list[bytes] = []
    try:
        while not pieces or pieces[-1]:
            pieces.append(await asyncio.wait_for(_piece(response["Body"]), PIECE_SECONDS))
    finally:
        response["Body"].close()
    return b"".join(pieces)


async def _piece(body: Any) -> bytes:
    """The next bytes, fewer than a piece only at the end."""
    parts: list[bytes] = []
    left = PIECE_BYTES
    while left and (part := await body.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)
