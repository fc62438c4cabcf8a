"""Parsing `tf.train.Example` without TensorFlow: protobuf's wire format, and the shapes in TFDS's `features.json`.

`tfds` calls `parse` for each record. `nested` builds a record as TFDS's readers do, but with images still encoded:
scalars, arrays (n, ...) for repeated features, bytes for images and texts, and dictionaries for groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Values = list[memoryview] | npt.NDArray[np.float32] | npt.NDArray[np.int64]
BYTES, FLOATS, INTEGERS = 1, 2, 3
"""The kinds of a feature, as protobuf field numbers."""


def parse(payload: bytes) -> dict[str, Values]:
    """The features of one record by name. Bytes are views of `payload`.

    Raises:
        ValueError: the bytes are no Example.
    """
    features: dict[str, Values] = {}
    for number, group in _fields(memoryview(payload)):
        for _, entry in _fields(_view(group)) if number == 1 else ():
            parts = {part: _view(content) for part, content in _fields(_view(entry))}
            features[bytes(parts.get(1, b"")).decode()] = _values(parts.get(2, memoryview(b"")))
    return features


def nested(features: Mapping[str, Values], shape: Mapping[str, Any], path: str = "", *, repeats: bool = False) -> Any:
    """Build the nested record that `features.json` describes.

    Args:
        features: the flat features, with names such as `group/name`.
        shape: a node of `features.json`.
        path: the name of this node in `features`; empty for the root.
        repeats: whether the node is inside a sequence.

    Raises:
        ValueError: a feature is missing, or has another number of values.
    """
    if "featuresDict" in shape:
        inner = shape["featuresDict"]["features"]
        return {
            name: nested(features, each, f"{path}/{name}".lstrip("/"), repeats=repeats) for name, each in inner.items()
        }
    if "sequence" in shape:
        return nested(features, shape["sequence"]["feature"], path, repeats=True)
    if path not in features:
        raise ValueError(f"has no feature '{path}' (its features: {', '.join(sorted(features))})")
    values = features[path]
    if isinstance(values, list):
        texts = [bytes(value) for value in values]
        return texts if repeats else _only(texts, path)
    array = values.reshape(-1, *_dimensions(shape))
    return array if repeats else _only(array, path)


def _only(values: Any, path: str) -> Any:
    if len(values) != 1:
        raise ValueError(f"feature '{path}' has {len(values)} values, not one")
    return values[0]


def _dimensions(shape: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of one value: (3,) for a location, () for a class."""
    kinds = [each for each in shape.values() if isinstance(each, dict)]
    inner: Mapping[str, Any] = next((each["shape"] for each in kinds if "shape" in each), {})
    return tuple(int(size) for size in inner.get("dimensions", ()))


def _values(feature: memoryview) -> Values:
    """The values of a `tf.train.Feature`. Numbers are packed, as TensorFlow writes them, or single."""
    for kind, content in _fields(feature):
        lists = [value for number, value in _fields(_view(content)) if number == 1]
        if kind == BYTES:
            return [_view(value) for value in lists]
        if kind == FLOATS:
            return np.frombuffer(b"".join(bytes(_view(value)) for value in lists), dtype="<f4")
        if kind == INTEGERS:
            return np.array([each for value in lists for each in _integers(value)], dtype=np.int64)
    return []


def _integers(value: memoryview | int) -> Iterator[int]:
    place, end = 0, 0 if isinstance(value, int) else len(value)
    if isinstance(value, int):
        yield _signed(value)
        return
    while place < end:
        number, place = _varint(value, place)
        yield _signed(number)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Field numbers and contents. A group, or a content beyond the end, is an error."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        if tag & 7 == 0:
            number, place = _varint(message, place)
            yield tag >> 3, number
            continue
        if tag & 7 == 2:
            size, place = _varint(message, place)
        else:
            size = {1: 8, 5: 4}.get(tag & 7, len(message) + 1)
        if place + size > len(message):
            raise ValueError("is no tf.train.Example")
        yield tag >> 3, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(message):
            break
        byte = message[place]
        number, place = number | (byte & 127) << shift, place + 1
        if byte < 128:
            return number, place
    raise ValueError("is no tf.train.Example")


def _view(content: memoryview | int) -> memoryview:
    if isinstance(content, int):
        raise ValueError("is no tf.train.Example")
    return content
