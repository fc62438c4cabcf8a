"""WebDataset shards: `train-000000.tar` with `key.jpg` beside `key.cls` (an integer) or `key.json`.

Each tar is scanned once for labels and positions of images; an image is then read by its range. Nothing is extracted or
unpickled. The key of a member is its path up to the first dot of its name, as in WebDataset. If an image and a label
without a partner by that rule agree up to their last dot (`2.7-img.png` and `2.7-img.cls`), that is their key. Other
members, such as captions or masks as `key.seg.png`, are not used, and a note counts them.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from typing import IO, Literal, NamedTuple, TypeVar

from lion_ray.data.files import File, RangeFile, UrlFile
from lion_ray.data.item import BadData, read_as
from lion_ray.data.pool import FilePool, FoundSet
from lion_ray.data.readers.folder import is_image
from lion_ray.data.readers.junk import exclusion_reason
from lion_ray.data.readers.labels import ColumnNames, declared_classes, labels_from_texts
from lion_ray.data.readers.listing import Files, by_split
from lion_ray.data.readers.notes import count_and_names, incomplete_shard_notes, splits_note
from lion_ray.data.readers.split_names import SPLIT_COLUMNS, check_inner_splits, split_word

PICKLES = ("pyd", "pkl", "pickle", "pth", "pt")
MAX_LABEL_BYTES = 2**20
BLOCK = 512
LABELS = ("cls", "json")
Value = TypeVar("Value")


class TarSample(NamedTuple):
    """One sample: the image's name for messages, its range of bytes, and its label as written."""

    name: str
    image: RangeFile
    label: str


class TarShard(NamedTuple):
    """One tar: its samples, its members in no sample, and the splits that folders or JSON name, each with a member."""

    samples: list[TarSample]
    unused: list[str]
    named_splits: dict[str, str]


def is_shard(path: str) -> bool:
    """Whether `path` is a tar file."""
    return path.lower().endswith(".tar")


def read(files: Files, columns: ColumnNames) -> FoundSet:
    """Read the dataset of the tars in a listing.

    Raises:
        BadData: a tar is damaged, cut, or holds pickles or links; or a sample has no image or label, or two.
    """
    shards = by_split(filter(is_shard, files), "tar shards")
    tars = {
        split: [_read(files[path], path, columns.label or "label") for path in paths] for split, paths in shards.items()
    }
    for split, found in tars.items():
        check_inner_splits((tar.named_splits for tar in found), split)
    splits = {split: [sample for tar in found for sample in tar.samples] for split, found in tars.items()}
    unused: dict[str, list[str]] = {}
    for name in (name for found in tars.values() for tar in found for name in tar.unused):
        unused.setdefault(exclusion_reason(name) or "neither image nor label of a sample", []).append(name)
    names = {split: [sample.name for sample in samples] for split, samples in splits.items()}
    texts = {split: [sample.label for sample in samples] for split, samples in splits.items()}
    labelled = labels_from_texts(texts, {split: names[split].__getitem__ for split in splits}, declared_classes(files))
    notes = [splits_note(shards, "by the names of the tars", "tar"), labelled.note, *incomplete_shard_notes(shards)]
    notes += [f"not used: {count_and_names(members, 'member')}: {reason}" for reason, members in unused.items()]
    pools = {
        split: FilePool(
            files=tuple(sample.image for sample in samples),
            names=tuple(names[split]),
            labels=labelled.labels[split],
        )
        for split, samples in splits.items()
    }
    return FoundSet(classes=labelled.classes, pools=pools, notes=tuple(notes))


def _read(shard: File, path: str, key: str) -> TarShard:
    """Scan one tar. Samples keep the order of their first members."""
    if not isinstance(shard, UrlFile):
        raise BadData(f"{path}: a tar inside another archive is not read; put it at a URL of its own")
    images: dict[str, tuple[str, RangeFile]] = {}
    labels: dict[str, str] = {}
    named_splits: dict[str, str] = {}
    with read_as("a tar", path), shard.open() as raw, tarfile.open(fileobj=raw, mode="r:") as tar:
        members = list(_members(tar, path))
        keys = _keys([member.name for member in members if not _is_junk(member.name)], path)
        for member in members:
            if member.name not in keys:
                continue
            stem, ending = keys[member.name]
            where = f"{path}: {member.name}"
            if ending not in LABELS:
                place = RangeFile(url=shard.url, start=member.offset_data, size=member.size)
                _put(images, stem, (where, place), f"{where}: {stem} has another image")
                continue
            payload = _payload(tar, member, where)
            if (word := _label(payload, ending, key, where)) is not None:
                _put(labels, stem, word, f"{where}: {stem} has another label")
            named_splits = {**dict.fromkeys(_splits_in(payload, ending, stem), where), **named_splits}
        _check_end(raw, tar.offset, path)
    lonely = min(images.keys() ^ labels.keys(), default=None)
    if lonely is not None:
        raise BadData(f"{path}: {lonely} has no {'label (.cls or .json)' if lonely in images else 'image'}")
    unused = [member.name for member in members if member.name not in keys]
    return TarShard(
        [TarSample(name, image, labels[stem]) for stem, (name, image) in images.items()], unused, named_splits
    )


def _keys(names: Sequence[str], path: str) -> dict[str, tuple[str, str]]:
    """Key and ending of each image and label by member name: up to the first dot, or else up to the last.

    Raises:
        BadData: a label belongs to one sample by the first rule and to another by the second.
    """
    first = {name: (folder + stem, ending.lower()) for name in names for folder, stem, ending in [_cut(name, "first")]}
    found = {name: place for name, place in first.items() if _is_part(place[1])}
    left = [name for name in names if name not in found]
    taken = {key for key, _ in found.values()}
    last = {name: (folder + stem, ending.lower()) for name in left for folder, stem, ending in [_cut(name, "last")]}
    kinds: dict[str, set[bool]] = {}
    for key, ending in last.values():
        if _is_part(ending):
            kinds.setdefault(key, set()).add(ending in LABELS)
    whole = {key for key, both in kinds.items() if len(both) == 2}
    more = {name: place for name, place in last.items() if place[0] in whole and _is_part(place[1])}
    clash = next((name for name, place in more.items() if place[1] == "cls" and first[name][0] in taken), None)
    if clash is not None:
        keys = f"{last[clash][0]} or of {first[clash][0]}"
        raise BadData(f"{path}: {clash} may be of the sample {keys}, which is there too: rename one of them")
    return {**found, **{name: place for name, place in more.items() if first[name][0] not in taken}}


def _cut(name: str, dot: Literal["first", "last"]) -> tuple[str, str, str]:
    """Folder, name up to the dot, and ending after the dot."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".") if dot == "first" else base.rpartition(".")
    return folder + slash, stem, ending


def _is_part(ending: str) -> bool:
    return ending in LABELS or ("." not in ending and is_image(f".{ending}"))


def _put(known: dict[str, Value], key: str, value: Value, problem: str) -> None:
    if known.setdefault(key, value) != value:
        raise BadData(problem)


def _members(tar: tarfile.TarFile, path: str) -> Iterator[tarfile.TarInfo]:
    """Yield all regular files."""
    for member in tar:
        name = member.name.rpartition("/")[2]
        if member.isdir():
            continue
        if not member.isreg() or member.issparse():
            raise BadData(f"{path}: {member.name} is a link, a sparse or a special file")
        if name.rpartition(".")[2].lower() in PICKLES:
            raise BadData(f"{path}: {member.name} is a pickle, which is never read: it could run code")
        yield member


def _is_junk(name: str) -> bool:
    """Whether a member is in no sample. A key may begin with a dot, but a name that is an ending only is no key."""
    base = name.rpartition("/")[2]
    return (
        exclusion_reason(name.removesuffix(base) + base.lstrip(".")) is not None
        or base.startswith("._")
        or _is_part(base[1:])
    )


def _splits_in(payload: str, ending: str, stem: str) -> set[str]:
    """The splits that the JSON of a sample and the folders of its key name."""
    values = json.loads(payload) if ending == "json" else {}
    fields = values.items() if isinstance(values, dict) else ()
    texts = [value for name, value in fields if name.lower() in SPLIT_COLUMNS] + stem.split("/")[:-1]
    return {split for text in texts if isinstance(text, str) and (split := split_word(text))}


def _label(payload: str, ending: str, key: str, where: str) -> str | None:
    """The text of a `cls`, or the value of `key` in JSON; None without this key, because a `cls` may hold the label."""
    if ending == "cls":
        return payload.strip()
    try:
        values = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadData(f"{where}: is not JSON ({error})") from error
    value = values.get(key) if isinstance(values, dict) else values
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, str))):
        raise BadData(f"{where}: {key} is {value!r}, not an integer or a class name")
    return None if value is None else str(value)


def _payload(tar: tarfile.TarFile, member: tarfile.TarInfo, where: str) -> str:
    if member.size > MAX_LABEL_BYTES:
        raise BadData(f"{where}: has {member.size} bytes, too many for a label")
    file = tar.extractfile(member)
    assert file is not None
    try:
        return file.read().decode()
    except UnicodeDecodeError as error:
        raise BadData(f"{where}: is not UTF-8 text") from error


def _check_end(raw: IO[bytes], end: int, path: str) -> None:
    """Raise `BadData` if the tar does not end with a block of zeros, which means that it was cut."""
    raw.seek(end)
    if raw.read(BLOCK) != bytes(BLOCK):
        raise BadData(f"{path}: has no end mark: it was cut")
