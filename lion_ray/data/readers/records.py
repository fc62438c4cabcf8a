"""Reading the records of TFRecord and ArrayRecord shards without TensorFlow. Each record can be read again by itself.

`tfds` calls `read_records`. TFRecord is read from any URL; ArrayRecord by the `array_record` package from local files
(`pip install 'lion-ray[tfds]'`). Only the checksum of a TFRecord's length is checked, because checking its data would
take as long in Python as all other work together.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from threading import Lock
from typing import Any

from lion_ray.data.files import File, RangeFile, UrlFile
from lion_ray.data.item import BadData, read_as

_FRAME = struct.Struct("<QI")
_FOOT_BYTES = 4
MAX_RECORD_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayRecord:
    """The record number `index` of a local ArrayRecord file."""

    path: str
    index: int

    def read(self) -> bytes:
        """The record's bytes."""
        reader, lock = _reader(self.path)
        with lock:
            (payload,) = reader.read([self.index])
        return bytes(payload)


Record = RangeFile | ArrayRecord


def read_records(shard: File, path: str) -> Iterator[tuple[Record, bytes]]:
    """Yield every record of a shard in order, with its bytes. `path` is for messages.

    Raises:
        BadData: the shard is cut or damaged, lies inside an archive, or needs a package that is not installed.
    """
    if not isinstance(shard, UrlFile):
        raise BadData(f"{path}: records inside another archive are not read; put them at a URL of their own")
    with read_as("TFDS records", path):
        yield from _array_records(shard, path) if ".array_record" in path else _tf_records(shard, path)


def _tf_records(shard: UrlFile, path: str) -> Iterator[tuple[Record, bytes]]:
    with shard.open() as file:
        place = 0
        while head := file.read(_FRAME.size):
            size, check = _FRAME.unpack(head) if len(head) == _FRAME.size else (0, -1)
            if check != masked_crc(head[:8]) or size > MAX_RECORD_BYTES:
                raise BadData(f"{path}: is no TFRecord, or damaged, at byte {place}")
            payload = file.read(size)
            if len(payload) < size or len(file.read(_FOOT_BYTES)) < _FOOT_BYTES:
                raise BadData(f"{path}: ends within the record at byte {place}: it was cut")
            yield RangeFile(url=shard.url, start=place + _FRAME.size, size=size), payload
            place += _FRAME.size + size + _FOOT_BYTES


def _array_records(shard: UrlFile, path: str) -> Iterator[tuple[Record, bytes]]:
    local = shard.local_path
    if local is None:
        raise BadData(f"{path}: ArrayRecord is read from local files only; copy it, or prepare the set as TFRecord")
    try:
        reader, _ = _reader(str(local))
        for index in range(reader.num_records()):
            record = ArrayRecord(path=str(local), index=index)
            yield record, record.read()
    except ImportError as error:
        raise BadData(f"{path}: ArrayRecord needs a package: pip install 'lion-ray[tfds]'") from error


@lru_cache(maxsize=64)
def _reader(path: str) -> tuple[Any, Lock]:
    module = import_module("array_record.python.array_record_module")
    return module.ArrayRecordReader(path), Lock()


def masked_crc(payload: bytes) -> int:
    """The checksum of TFRecord: CRC-32C, rotated, plus a constant."""
    crc = 0xFFFFFFFF
    for byte in payload:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> list[int]:
    table = []
    for entry in range(256):
        for _ in range(8):
            entry = (entry >> 1) ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return table


_TABLE = _table()
