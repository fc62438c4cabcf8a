"""Sets as TensorFlow Datasets prepares them: `NAME-SPLIT.tfrecord-00000-of-00001` (or `.array_record-…`) shards with
`features.json` and `dataset_info.json` beside them, read without TensorFlow and without TFDS.

The order is that of TFDS's slices (`train[:800]`): shards by number, records as they stand. `read` takes one feature
as the label; `labelled` lets a rule make it (the catalogue's: record → label).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from lion_ray.data.files import File
from lion_ray.data.item import BadData, read_as
from lion_ray.data.pool import POOL, FilePool, FoundSet, as_labels
from lion_ray.data.readers.account import some, splits_told
from lion_ray.data.readers.examples import nested, parse
from lion_ray.data.readers.labels import Columns, declared, number, text
from lion_ray.data.readers.listing import Files, check_train, split_error
from lion_ray.data.readers.records import Record, find
from lion_ray.data.readers.split_names import check_words, split_word

SHARD = re.compile(r"(?:.*/)?[^/]*-(?P<split>[^/-]+)\.(?:tfrecord|array_record)-[0-9]+-of-[0-9]+")
Rule = Callable[[Mapping[str, Any]], int]
"""A record (see `examples.nested`) → its label."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordImage:
    """The encoded image in a record."""

    record: Record
    feature: str
    where: str

    def read(self) -> bytes:
        """The bytes as TFDS keeps them: PNG or JPEG.

        Raises:
            BadData: the record has no such feature.
        """
        return _image(parse(self.record.read()), self.feature, self.where)


class LabelledRecord(NamedTuple):
    """The images of one split with their labels as the rule gives them."""

    images: tuple[RecordImage, ...]
    labels: tuple[int, ...]


def is_shard(path: str) -> bool:
    """Whether the name is that of a shard of records."""
    return SHARD.fullmatch(path) is not None


def read(files: Files, columns: Columns) -> FoundSet:
    """The set in `files` (a listing), its splits as TFDS calls them, one integer feature as the label.

    Raises:
        BadData: as `labelled`; also a feature that is no integer, or a split other than train, validation and test.
    """
    feature = columns.label or "label"
    splits = labelled(files, lambda record: _integer(record, feature), image=columns.image or "image")
    odd = next((split for split in splits if split_word(split) is None), None)
    if odd is not None:
        raise split_error(f"split {odd}")
    check_words((split_word(split) or POOL, split) for split in splits)
    pools = {split_word(split) or POOL: _pool(found) for split, found in splits.items()}
    check_train(set(pools))
    wheres = {split: pool.names.__getitem__ for split, pool in pools.items()}
    labels = {split: pool.labels for split, pool in pools.items()}
    shards: dict[str, list[str]] = {}
    for path in filter(is_shard, files):
        shards.setdefault(split_word(SHARD.sub(r"\g<split>", path)) or POOL, []).append(path)
    note = splits_told(shards, "by the names of the shards", "shard")
    known = number(labels, wheres, _classes(files, feature), "as features.json and *.labels.txt declare them")
    return FoundSet(classes=known.classes, pools=pools, notes=(note, known.note, *_absent(files, splits)))


def labelled(files: Files, rule: Rule, *, image: str = "image") -> dict[str, LabelledRecord]:
    """The images of each split, by TFDS's own name for it, and their labels by `rule`.

    Raises:
        BadData: a shard is missing, cut or damaged, a record is no `Example`, or has not the image or what `rule` asks.
    """
    shape, folder = _shape(files)
    splits: dict[str, list[tuple[RecordImage, int]]] = {}
    for path in filter(is_shard, files):
        match = SHARD.fullmatch(path)
        assert match is not None
        if path.rpartition("/")[0] != folder:
            raise BadData(f"records lie in {folder or '.'} and {path.rpartition('/')[0]}; give the URL of one set")
        splits.setdefault(match["split"], []).extend(_records(files[path], path, shape, rule, image))
    _check_counts(files, folder, {split: len(found) for split, found in splits.items()})
    return {
        split: LabelledRecord(tuple(each for each, _ in found), tuple(label for _, label in found))
        for split, found in splits.items()
    }


def _records(
    shard: File, path: str, shape: Mapping[str, Any], rule: Rule, image: str
) -> Iterator[tuple[RecordImage, int]]:
    for index, (record, payload) in enumerate(find(shard, path)):
        where = f"{path}: record {index}"
        with read_as("what features.json describes", where):
            try:
                features = parse(payload)
                label = rule(nested(features, shape))
            except ValueError as error:
                raise BadData(f"{where}: {error}") from error
        _image(features, image, where)
        yield RecordImage(record=record, feature=image, where=where), label


def _image(features: Mapping[str, Any], feature: str, where: str) -> bytes:
    values = features.get(feature)
    if not isinstance(values, list) or len(values) != 1:
        raise BadData(f"{where}: has no image feature '{feature}' (its features: {', '.join(sorted(features))})")
    return bytes(values[0])


def _integer(record: Mapping[str, Any], feature: str) -> int:
    if feature not in record:
        raise ValueError(f"has no feature '{feature}' (its features: {', '.join(sorted(record))}); give label_column")
    value = record[feature]
    if not isinstance(value, np.integer):
        raise ValueError(f"feature '{feature}' is no integer")
    return int(value)


def _pool(found: LabelledRecord) -> FilePool:
    return FilePool(
        files=found.images, names=tuple(image.where for image in found.images), labels=as_labels(found.labels)
    )


def _shape(files: Files) -> tuple[Mapping[str, Any], str]:
    """What `features.json` says, and the folder of the shards that it lies in."""
    first = next(filter(is_shard, files), None)
    if first is None:
        raise BadData("there are no TFDS records")
    folder = first.rpartition("/")[0]
    shape = _json(files, f"{folder}/features.json".lstrip("/"))
    if not isinstance(shape.get("featuresDict", {}).get("features"), dict):
        raise BadData(f"{folder}/features.json: describes no features".lstrip("/"))
    return shape, folder


def _check_counts(files: Files, folder: str, found: Mapping[str, int]) -> None:
    """Raise `BadData` when a split has not as many records as were prepared."""
    path = f"{folder}/dataset_info.json".lstrip("/")
    for split in _json(files, path).get("splits", ()):
        expected = sum(map(int, split.get("shardLengths", ())))
        if split.get("name") in found and found[split["name"]] != expected:
            raise BadData(f"{path}: says {expected} records of {split['name']}, but there are {found[split['name']]}")


def _absent(files: Files, found: Iterable[str]) -> list[str]:
    """A line when splits were prepared of which no shard is here: a study cuts its own instead."""
    _, folder = _shape(files)
    path = f"{folder}/dataset_info.json".lstrip("/")
    absent = [
        str(split.get("name")) for split in _json(files, path).get("splits", ()) if split.get("name") not in found
    ]
    return [f"{path} names {some(absent, 'split')} of which no shard is here"] if absent else []


def _json(files: Files, path: str) -> dict[str, Any]:
    if path not in files:
        raise BadData(f"there is no {path}, which TFDS writes beside its records")
    try:
        value = json.loads(text(files, path))
    except ValueError as error:
        raise BadData(f"{path}: is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadData(f"{path}: is not a JSON object")
    return value


def _classes(files: Files, feature: str) -> tuple[str, ...] | None:
    """The names that TFDS keeps of a class label, or its number of classes as names."""
    shape, folder = _shape(files)
    path = f"{folder}/{feature}.labels.txt".lstrip("/")
    if path in files:
        return tuple(text(files, path).rstrip("\n").split("\n"))
    num = shape["featuresDict"]["features"].get(feature, {}).get("classLabel", {}).get("numClasses")
    return declared(files) or (tuple(map(str, range(int(num)))) if num else None)
