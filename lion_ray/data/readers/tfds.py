"""Datasets prepared by TensorFlow Datasets, read without TensorFlow and without TFDS.

Shards are called `NAME-SPLIT.tfrecord-00000-of-00001` (or `.array_record-…`), with `features.json` and
`dataset_info.json` beside them. The order is that of TFDS's slices (`train[:800]`): shards by number, records in file
order. `read` uses one feature as the label. `labelled` lets a rule compute it; `lion_ray.data.catalogue.cutting` calls
it.
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
from lion_ray.data.readers.examples import nested, parse
from lion_ray.data.readers.labels import ColumnNames, declared_classes, labels_from_integers, read_text
from lion_ray.data.readers.listing import Files, check_train, split_error
from lion_ray.data.readers.notes import count_and_names, splits_note
from lion_ray.data.readers.records import Record, read_records
from lion_ray.data.readers.split_names import check_words, split_word

SHARD = re.compile(r"(?:.*/)?[^/]*-(?P<split>[^/-]+)\.(?:tfrecord|array_record)-[0-9]+-of-[0-9]+")
Rule = Callable[[Mapping[str, Any]], int]
"""Computes the label of a record (see `examples.nested`)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordImage:
    """The encoded image in a record."""

    record: Record
    feature: str
    where: str

    def read(self) -> bytes:
        """The bytes as TFDS stores them, PNG or JPEG.

        Raises:
            BadData: the record has no image feature of this name.
        """
        return _image(parse(self.record.read()), self.feature, self.where)


class LabelledSplit(NamedTuple):
    """The images of one TFDS split, with their labels by the rule."""

    images: tuple[RecordImage, ...]
    labels: tuple[int, ...]


def is_shard(path: str) -> bool:
    """Whether `path` is a shard of records."""
    return SHARD.fullmatch(path) is not None


def read(files: Files, columns: ColumnNames) -> FoundSet:
    """Read the dataset of the shards in a listing, with TFDS's splits and one integer feature as the label.

    Raises:
        BadData: as `labelled`; also if the label is no integer, or for a split other than train, validation and test.
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
    note = splits_note(shards, "by the names of the shards", "shard")
    known = labels_from_integers(
        labels, wheres, _classes(files, feature), "as features.json and *.labels.txt declare them"
    )
    return FoundSet(classes=known.classes, pools=pools, notes=(note, known.note, *_absent(files, splits)))


def labelled(files: Files, rule: Rule, *, image: str = "image") -> dict[str, LabelledSplit]:
    """The images of each TFDS split, with labels by a rule.

    Args:
        files: the listing.
        rule: computes the label of a record.
        image: the name of the image feature.

    Raises:
        BadData: a shard is missing, cut or damaged, a record is no `Example`, or a record lacks the image or a feature
            of the rule.
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
        split: LabelledSplit(tuple(each for each, _ in found), tuple(label for _, label in found))
        for split, found in splits.items()
    }


def _records(
    shard: File, path: str, shape: Mapping[str, Any], rule: Rule, image: str
) -> Iterator[tuple[RecordImage, int]]:
    for index, (record, payload) in enumerate(read_records(shard, path)):
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


def _pool(found: LabelledSplit) -> FilePool:
    return FilePool(
        files=found.images, names=tuple(image.where for image in found.images), labels=as_labels(found.labels)
    )


def _shape(files: Files) -> tuple[Mapping[str, Any], str]:
    """The content of `features.json`, and the folder of the shards."""
    first = next(filter(is_shard, files), None)
    if first is None:
        raise BadData("there are no TFDS records")
    folder = first.rpartition("/")[0]
    shape = _json(files, f"{folder}/features.json".lstrip("/"))
    if not isinstance(shape.get("featuresDict", {}).get("features"), dict):
        raise BadData(f"{folder}/features.json: describes no features".lstrip("/"))
    return shape, folder


def _check_counts(files: Files, folder: str, found: Mapping[str, int]) -> None:
    """Raise `BadData` if a split has another number of records than `dataset_info.json` says."""
    path = f"{folder}/dataset_info.json".lstrip("/")
    for split in _json(files, path).get("splits", ()):
        expected = sum(map(int, split.get("shardLengths", ())))
        if split.get("name") in found and found[split["name"]] != expected:
            raise BadData(f"{path}: says {expected} records of {split['name']}, but there are {found[split['name']]}")


def _absent(files: Files, found: Iterable[str]) -> list[str]:
    """A line if `dataset_info.json` names splits without shards, because a study cuts such splits from others."""
    _, folder = _shape(files)
    path = f"{folder}/dataset_info.json".lstrip("/")
    absent = [
        str(split.get("name")) for split in _json(files, path).get("splits", ()) if split.get("name") not in found
    ]
    return [f"{path} names {count_and_names(absent, 'split')} of which no shard is here"] if absent else []


def _json(files: Files, path: str) -> dict[str, Any]:
    if path not in files:
        raise BadData(f"there is no {path}, which TFDS writes beside its records")
    try:
        value = json.loads(read_text(files, path))
    except ValueError as error:
        raise BadData(f"{path}: is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise BadData(f"{path}: is not a JSON object")
    return value


def _classes(files: Files, feature: str) -> tuple[str, ...] | None:
    """The class names that TFDS stores for a class label, or the numbers of its classes as names."""
    shape, folder = _shape(files)
    path = f"{folder}/{feature}.labels.txt".lstrip("/")
    if path in files:
        return tuple(read_text(files, path).rstrip("\n").split("\n"))
    num = shape["featuresDict"]["features"].get(feature, {}).get("classLabel", {}).get("numClasses")
    return declared_classes(files) or (tuple(map(str, range(int(num)))) if num else None)
