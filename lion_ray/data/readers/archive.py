"""The files inside a zip at any URL. The zip's directory is read once, then each member by its range of bytes.

`listing` calls `members` for `….zip` and `zip://inner::URL`. Nothing is extracted to disk. The size of a member is
limited before it is unpacked, and its CRC is checked afterwards.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import IO

from lion_ray.data.files import RangeFile, UrlFile, is_web
from lion_ray.data.item import BadData, read_as

MAX_UNPACKED_BYTES = 2**30
MAX_RATIO = 1000
"""The largest allowed compression ratio. Deflate can reach 1032; images, Parquet and lists stay far below."""
FREE_BYTES = 2**20
"""Members up to this size may have any compression ratio."""
_HEADER = struct.Struct("<4s22sHH")


@dataclass(frozen=True, kw_only=True, slots=True)
class ZipMember:
    """One member of a zip.

    Attributes:
        path: archive and member name, for messages.
        raw: the bytes from the member's local header on.
        packed, size: compressed and uncompressed size in bytes.
        crc: CRC-32 of the uncompressed bytes.
        is_deflated: whether the member is compressed by Deflate, or stored.
    """

    path: str
    raw: RangeFile
    packed: int
    size: int
    crc: int
    is_deflated: bool

    def read(self) -> bytes:
        """Unpack the member, to at most `size` bytes.

        Raises:
            BadData: the member is damaged, or differs from the zip's directory.
        """
        raw = self.raw.read()
        magic, _, name, extra = _HEADER.unpack_from(raw.ljust(_HEADER.size, b"\0"))
        start = _HEADER.size + name + extra
        with read_as("a member of a zip", self.path):
            payload = _unpacked(raw[start : start + self.packed], self.size, self.is_deflated)
        if magic != b"PK\3\4" or len(payload) != self.size or zlib.crc32(payload) != self.crc:
            raise BadData(f"{self.path}: is not what the zip's directory says (size or checksum): damaged")
        return payload

    def open(self) -> IO[bytes]:
        """See `File.open`. The member is unpacked in memory."""
        return io.BytesIO(self.read())


def members(url: str, inner: str = "") -> dict[str, ZipMember]:
    """The members of the zip at `url` below the folder `inner`, by their path relative to it.

    Raises:
        BadData: the file is no zip, or a member is encrypted, a link, compressed by another method, there twice,
            outside the root, or a zip bomb.
    """
    name = url.rpartition("/")[2]
    advice = "; if the server ignores ranges, give simplecache::URL" if is_web(url) else ""
    with read_as("a zip", name, advice), UrlFile(url=url).open() as file, zipfile.ZipFile(file) as archive:
        infos, end = archive.infolist(), archive.start_dir
    starts = sorted({info.header_offset for info in infos})
    after = dict(pairwise([*starts, end]))
    below = f"{inner.strip('/')}/" if inner.strip("/") else ""
    found: dict[str, ZipMember] = {}
    for info in infos:
        if info.is_dir() or not info.filename.startswith(below):
            continue
        path = info.filename[len(below) :]
        if path in found:
            raise BadData(f"{name}: holds {info.filename} twice")
        found[path] = _member(url, name, info, after[info.header_offset])
    return found


def _member(url: str, name: str, info: zipfile.ZipInfo, end: int) -> ZipMember:
    wrong = _refusal(info)
    if wrong:
        raise BadData(f"{name}: {info.filename} {wrong}")
    return ZipMember(
        path=f"{name}: {info.filename}",
        raw=RangeFile(url=url, start=info.header_offset, size=end - info.header_offset),
        packed=info.compress_size,
        size=info.file_size,
        crc=info.CRC,
        is_deflated=info.compress_type == zipfile.ZIP_DEFLATED,
    )


def _refusal(info: zipfile.ZipInfo) -> str | None:
    """Why a member is refused; None if it is read."""
    if info.flag_bits & 1:
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is packed by method {info.compress_type}; only stored and deflated members are read"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a symbolic link"
    if info.filename.startswith("/") or ".." in info.filename.split("/"):
        return "leaves its root"
    if info.compress_type == zipfile.ZIP_STORED:
        return None  # its size is the size of the file
    if info.file_size > MAX_UNPACKED_BYTES:
        return f"unpacks to {info.file_size} bytes, a zip bomb? The limit is {MAX_UNPACKED_BYTES}"
    if info.file_size > max(FREE_BYTES, MAX_RATIO * info.compress_size):
        return f"unpacks {info.compress_size} bytes to {info.file_size}, a zip bomb?"
    return None


def _unpacked(packed: bytes, size: int, is_deflated: bool) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, size + 1) if is_deflated else packed
