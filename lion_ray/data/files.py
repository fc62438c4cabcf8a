"""Files of a dataset: a file at a URL of its own, or a range of bytes in a larger file.

`readers.listing` makes them (`readers.archive` those inside a zip), and `readers.webdataset` and `readers.records` cut
shards into ranges. Readers and pools only call `read` and `open`. The values are small, so a million of them fit in
memory, and they can be pickled.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from lion_ray.store import open_url, read_range, read_url


def is_web(url: str) -> bool:
    """Whether `url` is on a web server, which cannot list folders and may ignore range requests."""
    return url.lower().startswith(("http://", "https://"))


class Readable(Protocol):
    """Something whose bytes can be read. Every fault is an `OSError` or a `BadData`."""

    def read(self) -> bytes:
        """Read all bytes."""


class File(Readable, Protocol):
    """A file of a listing."""

    def open(self) -> IO[bytes]:
        """Open it as a seekable file, which the caller closes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UrlFile:
    """A file at a URL of its own."""

    url: str

    def read(self) -> bytes:
        """Read all bytes with one request. A local file is read without fsspec, which takes four times as long."""
        local = self.local_path
        return local.read_bytes() if local else read_url(self.url)

    def open(self) -> IO[bytes]:
        """See `File.open`."""
        return open_url(self.url)

    @property
    def local_path(self) -> Path | None:
        """The local path; None if the file is not local."""
        protocol, mark, path = self.url.rpartition("://")
        return None if mark and protocol not in ("file", "local") else Path(path).expanduser()


@dataclass(frozen=True, kw_only=True, slots=True)
class RangeFile:
    """The bytes `start` to `start + size` of the file at `url`."""

    url: str
    start: int
    size: int

    def read(self) -> bytes:
        """Read the range with one request."""
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
