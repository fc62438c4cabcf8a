"""One file of a dataset, wherever it lies: at a URL of its own, or as a range of a larger file.

`listing` makes them (`archive` those inside a zip), `webdataset` and `tfds` cut shards into ranges; readers and pools
only call `read` and `open`. All are small values, so that a set of a million images fits, and can be pickled.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from lion_ray.store import open_url, read_range, read_url


def is_web(url: str) -> bool:
    """Whether a web server has it, which lists no folders and may ignore ranges."""
    return url.lower().startswith(("http://", "https://"))


class Readable(Protocol):
    """Bytes that somebody else keeps; every fault is an `OSError` or a `BadData`."""

    def read(self) -> bytes:
        """All of it."""


class File(Readable, Protocol):
    """What a listing holds."""

    def open(self) -> IO[bytes]:
        """A seekable file, to be closed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UrlFile:
    """A file of its own."""

    url: str

    def read(self) -> bytes:
        """One request, on S3 too; a small local file without fsspec, which costs four times as much."""
        local = self.local_path
        return local.read_bytes() if local else read_url(self.url)

    def open(self) -> IO[bytes]:
        """See `File.open`."""
        return open_url(self.url)

    @property
    def local_path(self) -> Path | None:
        """Where it lies on this machine, if it does."""
        protocol, mark, path = self.url.rpartition("://")
        return None if mark and protocol not in ("file", "local") else Path(path).expanduser()


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeFile:
    """The bytes `start` to `start + size` of the file at `url`."""

    url: str
    start: int
    size: int

    def read(self) -> bytes:
        """One request for this range alone."""
        local = UrlFile(url=self.url).local_path
        if local is None:
            return read_range(self.url, self.start, self.start + self.size)
        with local.open("rb") as file:
            file.seek(self.start)
            payload = file.read(self.size)
        if len(payload) < self.size:
            raise OSError(f"the file ends within bytes {self.start} to {self.start + self.size}")
        return payload

    def open(self) -> IO[bytes]:
        """See `File.open`."""
        return io.BytesIO(self.read())
