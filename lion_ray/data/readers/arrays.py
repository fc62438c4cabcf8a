"""One NumPy `.npz` with `x_train, y_train, ...`, `train_images, train_labels, ...`, or `images, labels` as one pool.

Images are uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3) and stay in memory. Nothing is unpickled.
`lion_ray.data.readers` registers this reader as `npz`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lion_ray.data.fingerprint import Labels
from lion_ray.data.item import BadData, read_as
from lion_ray.data.pool import POOL, ArrayPool, FoundSet, as_labels, read_only
from lion_ray.data.readers.labels import ColumnNames, declared_classes, labels_from_integers
from lion_ray.data.readers.listing import Files, check_train
from lion_ray.data.readers.notes import count_and_names, splits_note
from lion_ray.data.readers.split_names import UNCLEAR, split_in, split_of, split_word, words_of

MAX_BYTES = 8 * 2**30
"""The largest unpacked size of all arrays of a file, because they are held in memory."""


NAMES = (
    (r"(?P<kind>[xy])_(?P<split>\w+)", "x", "y"),
    (r"(?P<split>\w+)_(?P<kind>[xy])", "x", "y"),
    (r"(?P<split>\w+)_(?P<kind>images|labels)", "images", "labels"),
    (r"(?P<kind>images|labels)_(?P<split>\w+)", "images", "labels"),
)
"""Patterns of array names, each with the words for images and for labels."""


def is_archive(path: str) -> bool:
    """Whether `path` is an archive of arrays."""
    return path.lower().endswith(".npz")


def read(files: Files, _: ColumnNames) -> FoundSet:
    """Read the dataset of the only `.npz` in a listing.

    Raises:
        BadData: there are several files, the file is damaged or too large, or arrays are missing, of other types, or do
            not match.
    """
    path, *others = filter(is_archive, files) or [""]
    if others:
        raise BadData(f"there are several archives ({path}, {others[0]}); give the URL of one of them")
    with _opened(files, path) as arrays:
        names = list(arrays.files)
        pairs = _pairs(names, path)
        _check_others(arrays, [name for name in names if name not in sum(pairs.values(), ())], set(pairs), path)
        images = {split: _images(arrays, keys[0], path) for split, keys in pairs.items()}
        labels = {split: _labels(arrays, keys[1], path) for split, keys in pairs.items()}
    for split, (image, label) in pairs.items():
        if len(images[split]) != len(labels[split]):
            counts = f"{len(images[split])} images do not go with {len(labels[split])} labels"
            raise BadData(f"{path}: {image} and {label}: {counts}")
    wheres = {split: partial("{}: {}: row {}".format, path, keys[1]) for split, keys in pairs.items()}
    labelled = labels_from_integers(labels, wheres, declared_classes(files))
    pools = {
        split: ArrayPool(images=images[split], labels=labels[split], name=f"{path}: {keys[0]}")
        for split, keys in pairs.items()
    }
    used = [name for keys in pairs.values() for name in keys]
    notes = [splits_note({split: list(keys) for split, keys in pairs.items()}, "by the names of the arrays", "array")]
    notes.append(labelled.note)
    if others := [name for name in names if name not in used]:
        notes.append(f"not used: {count_and_names(others, 'array')}: neither images nor labels of a split")
    return FoundSet(classes=labelled.classes, pools=pools, notes=tuple(notes))


def _pairs(names: list[str], path: str) -> dict[str, tuple[str, str]]:
    """The array names of the images and the labels of each split."""
    pairs: dict[str, tuple[str, str]] = {}
    for name in names:
        for pattern, image, label in NAMES:
            match = re.fullmatch(pattern, name, re.IGNORECASE)
            split = match and split_in(match["split"], f"{path}: array {name}")
            if not match or not split:
                continue
            front, back = name[: match.start("kind")], name[match.end("kind") :]
            pair = (_cased(f"{front}{image}{back}", names), _cased(f"{front}{label}{back}", names))
            if pairs.setdefault(split, pair) != pair:
                raise BadData(f"{path}: {pairs[split][0]} and {pair[0]} are both {split}; keep one of them")
    check_train(set(pairs) or {split_of(path).split} - {POOL})
    pairs = pairs or {POOL: ("images", "labels")}
    for pair in pairs.values():
        for name in pair:
            if name not in names:
                raise BadData(f"{path}: has no array '{name}' (its arrays: {', '.join(sorted(names))})")
    return pairs


def _check_others(arrays: Any, others: list[str], splits: set[str], path: str) -> None:
    """Raise `BadData` if unread images name a split, because a study would cut this split from other images."""
    for name in others:
        if not any(split_word(word) or word in UNCLEAR for word in words_of(name)):
            continue
        array = _array(arrays, name, path)
        is_images = array.dtype == np.uint8 and array.ndim in (3, 4)
        if is_images and (split := split_in(name, f"{path}: array {name}")) not in splits:
            raise BadData(f"{path}: {name} names {split} and is not read: call it x_{split}, its labels y_{split}")


def _cased(name: str, names: list[str]) -> str:
    """The array of this name, ignoring case, so that `X_train` matches `y_train`."""
    return next((each for each in names if each.lower() == name.lower()), name)


def _array(arrays: Any, name: str, path: str) -> npt.NDArray[Any]:
    value = arrays[name]
    if not isinstance(value, np.ndarray):  # NumPy returns a member that is no array as bytes
        raise BadData(f"{path}: {name} is no array of NumPy")
    return value


def _images(arrays: Any, name: str, path: str) -> npt.NDArray[np.uint8]:
    images = _array(arrays, name, path)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        wanted = "uint8 (N, H, W), (N, H, W, 1) or (N, H, W, 3)"
        raise BadData(f"{path}: {name} is {images.dtype} {images.shape}, not {wanted}")
    if images.shape[-1] == 1 and images.ndim == 4:
        images = images[..., 0]
    return read_only(np.ascontiguousarray(images))


def _labels(arrays: Any, name: str, path: str) -> Labels:
    labels = _array(arrays, name, path)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise BadData(f"{path}: {name} is {labels.dtype} {labels.shape}, not integers (N,)")
    return as_labels(labels)


@contextmanager
def _opened(files: Files, path: str) -> Iterator[Any]:
    """Open the archive. Every fault of it becomes a `BadData`."""
    if not path:
        raise BadData("there is no .npz")
    with read_as(".npz", path), files[path].open() as raw, np.load(raw, allow_pickle=False) as arrays:
        size = sum(info.file_size for info in arrays.zip.infolist())
        if size > MAX_BYTES:
            raise BadData(f"{path}: unpacks to {size} bytes, and the limit is {MAX_BYTES}; store it as Parquet")
        yield arrays
