"""A dataset as the study file asks for it: found, then planned, then decoded.

`find` is called by `experiments` (for `identity`) and by whoever trains (for `decode`). All faults of the data
become a `StudyError` here, with the study file and the dataset in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lion_ray.config import DataConfig, DatasetConfig, StudyError, nearest
from lion_ray.data import folder, parquet
from lion_ray.data.catalogue import CATALOGUE, Entry, names
from lion_ray.data.dataset import Dataset, Split
from lion_ray.data.decoding import Resize, decode
from lion_ray.data.item import BadData
from lion_ray.data.listing import Files, listing
from lion_ray.data.packages import package_folder, read_package
from lion_ray.data.pool import Found, Labels, frozen
from lion_ray.data.sampling import Indices, sampled
from lion_ray.data.splits import Counts, Part, TooFew, plan, with_val_share
from lion_ray.store import find_files

NO_ROOT = DataConfig()


@dataclass(frozen=True, kw_only=True)
class Source:
    """A set whose labels and splits are known and whose images are not decoded yet. `origin` is the study file.

    `modifiers` are those of train; `drawn` is what they leave of it: indices in its pool, and labels.
    """

    name: str
    origin: str
    found: Found
    parts: Mapping[str, Part]
    modifiers: Mapping[str, Any] = field(default_factory=dict)
    drawn: tuple[Indices, Labels] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.found.classes

    @property
    def encoding(self) -> str:
        """How the source keeps its pixels: `raw`, `png`, `jpeg`, ..., `mixed`. Reads every image once."""
        with self._blamed():
            return self.found.fingerprint.encoding

    def identity(self) -> dict[str, Any]:
        """What makes this data what it is, for JSON and hashing: never a path, a URL or a time.

        The digest covers all that was found (see `fingerprint`); the name enters only where it orders a pool.
        """
        with self._blamed():
            fingerprint = self.found.fingerprint
        identity = {
            "digest": fingerprint.digest,
            "encoding": fingerprint.encoding,
            "classes": list(self.classes),
            "splits": {split: part.identity(self.name) for split, part in self.parts.items()},
        }
        return {**identity, "modifiers": dict(self.modifiers)} if self.modifiers else identity

    def chosen(self, split: str) -> tuple[Indices, Labels]:
        """The images of a split, as indices in the pool of its part, and their labels, both of shape (N,)."""
        if split == "train" and self.drawn is not None:
            return self.drawn
        part = self.parts[split]
        labels = self.found.pools[part.pool].labels
        indices = part.indices(self.name, len(labels))
        return indices, frozen(labels[indices])

    def decode(
        self,
        *,
        size: int,
        interpolation: str = "bicubic",
        crop_fraction: float | None = None,
        num_threads: int | None = None,
    ) -> Dataset:
        """Read, decode and resize the three splits (see `Resize`) on `num_threads` (all cores, if None).

        Raises:
            StudyError: an image is missing or broken.
        """
        resize = Resize(size=size, interpolation=interpolation, crop_fraction=crop_fraction)
        with self._blamed():
            splits = {split: self._decode(split, resize, num_threads) for split in self.parts}
        return Dataset(name=self.name, classes=self.classes, **splits)

    def _decode(self, split: str, resize: Resize, num_threads: int | None) -> Split:
        indices, labels = self.chosen(split)
        places = np.argsort(indices)  # read in the source's order, place in the split's
        items = self.found.pools[self.parts[split].pool].items(indices[places].tolist())
        return Split(images=decode(items, places.tolist(), resize, num_threads=num_threads), labels=labels)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        with _blamed(self.origin, f"datasets.{self.name}"):
            yield


def find(config: DatasetConfig, where: DataConfig = NO_ROOT, *, source: str = "study") -> Source:
    """Look the set up: labels are read and checked, splits planned, no image decoded. `source` is for messages.

    Raises:
        StudyError: the name is not known, its package is not installed, it has not been built, the URL cannot be read,
            the files are not what they should be, or there are too few images.
    """
    key = f"datasets.{config.name}"
    entry = None if config.url is not None else _entry(config, source)
    with _blamed(source, key):
        found = _from_url(config) if entry is None else entry.checked(_from_entry(entry, where))
    try:
        return _planned(config, found, entry.counts if entry else Counts(), source)
    except TooFew as error:
        raise StudyError(source, f"{key}.{error.key}".rstrip("."), str(error)) from error


def _planned(config: DatasetConfig, found: Found, defaults: Counts, origin: str) -> Source:
    wish = Counts(train=config.num_train, val=config.num_val, test=config.num_test)
    if config.val is not None:
        wish = with_val_share(found.sizes, wish, defaults, config.val)
    parts = plan(found.sizes, wish, defaults)
    whole = Source(name=config.name, origin=origin, found=found, parts=parts, modifiers=config.modifiers)
    if not config.modifiers:
        return whole
    return replace(whole, drawn=sampled(config, *whole.chosen("train"), found.classes))


def _entry(config: DatasetConfig, source: str) -> Entry:
    key = f"datasets.{config.name}"
    if config.name not in CATALOGUE:
        raise StudyError(source, key, f"is not in the catalogue and has no url; {nearest(config.name, names())}")
    if config.format is not None:
        raise StudyError(source, f"{key}.format", "needs a url; a catalogue set knows its own format")
    return CATALOGUE[config.name]


def _from_entry(entry: Entry, where: DataConfig) -> Found:
    """Out of its package, or as built below the study's `data.root`."""
    if entry.package is not None and entry.read is not None:
        place = package_folder(entry.package.name, entry.package.folder)
        if place is None:
            raise BadData(f"needs the package {entry.package.name}, which is not installed: {entry.package.install}")
        return read_package(entry.read, place, entry.classes)
    if where.root is None:
        raise BadData(f"is in no package: set data.root to where built sets lie, and {_build(entry, 'ROOT')}")
    url = f"{where.root.rstrip('/')}/{entry.name}"
    if not find_files(url):
        raise BadData(f"{url} holds nothing: {_build(entry, where.root)}")
    return _from_url(DatasetConfig(name=entry.name, url=url))


def _build(entry: Entry, root: str) -> str:
    command = f"lion-ray data build {entry.name} --from SOURCE --to {root.rstrip('/')}/{entry.name}"
    return f"build it with `{command}` (SOURCE: {entry.origin})"


def _from_url(config: DatasetConfig) -> Found:
    assert config.url is not None
    files = listing(config.url)
    kind = config.format or _format(files)
    return parquet.read(files) if kind == "parquet" else folder.read(files)


def _format(files: Files) -> str:
    """Parquet or folder, by the endings."""
    kinds = [
        kind for kind, test in (("parquet", parquet.is_shard), ("folder", folder.is_image)) if any(map(test, files))
    ]
    if len(kinds) != 1:
        problem = "both Parquet shards and images; give the format" if kinds else "neither Parquet shards nor images"
        raise BadData(f"the url holds {problem}")
    return kinds[0]


@contextmanager
def _blamed(origin: str, key: str) -> Iterator[None]:
    try:
        yield
    except BadData as error:
        raise StudyError(origin, key, str(error)) from error
