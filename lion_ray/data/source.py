"""A dataset as the study file asks for it: found, then planned, then decoded.

`find` is called by `experiments` (for `identity`) and by whoever trains (for `decode`). All faults of the data
become a `StudyError` here, with the study file and the dataset in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from lion_ray.config import DatasetConfig, StudyError, nearest
from lion_ray.data import folder, parquet
from lion_ray.data.catalog import CATALOG, Entry, names
from lion_ray.data.dataset import Dataset, Split
from lion_ray.data.decoding import Resize
from lion_ray.data.encoded import EncodedImages, blamed
from lion_ray.data.item import BadData
from lion_ray.data.listing import Files, listing
from lion_ray.data.packages import package_folder, read_package
from lion_ray.data.pool import Found, frozen
from lion_ray.data.splits import Counts, Part, TooFew, plan
from lion_ray.data.storage import IN_MEMORY, Storage


@dataclass(frozen=True, kw_only=True)
class Source:
    """A set whose labels and splits are known and whose images are not decoded yet. `origin` is the study file."""

    name: str
    origin: str
    found: Found
    parts: Mapping[str, Part]

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
        return {
            "digest": fingerprint.digest,
            "encoding": fingerprint.encoding,
            "classes": list(self.classes),
            "splits": {split: part.identity(self.name) for split, part in self.parts.items()},
        }

    def decode(
        self,
        *,
        size: int,
        interpolation: str = "bicubic",
        crop_fraction: float | None = None,
        num_threads: int | None = None,
        storage: Storage = IN_MEMORY,
    ) -> Dataset:
        """Read, decode and resize the splits that `storage` keeps in memory (see `Resize`) on `num_threads`, None: all.

        Val and test are in the source's order, so that every storage reads them alike.

        Raises:
            StudyError: an image is missing or broken.
        """
        resize = Resize(size=size, interpolation=interpolation, crop_fraction=crop_fraction)
        splits = {split: self._split(split, resize, storage, num_threads) for split in self.parts}
        return Dataset(name=self.name, classes=self.classes, **splits)

    def _split(self, split: str, resize: Resize, storage: Storage, num_threads: int | None) -> Split:
        part = self.parts[split]
        pool = self.found.pools[part.pool]
        indices = part.indices(self.name, len(pool.labels))
        indices = indices if split == "train" else np.sort(indices)
        encoded = EncodedImages(pool=pool, indices=indices, resize=resize, origin=self.origin, key=self._key)
        return storage.keep(split, encoded, frozen(pool.labels[indices]), num_threads)

    @property
    def _key(self) -> str:
        return f"datasets.{self.name}"

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        with blamed(self.origin, self._key):
            yield


def find(config: DatasetConfig, *, source: str = "study") -> Source:
    """Look the set up: labels are read and checked, splits planned, no image decoded. `source` is for messages.

    Raises:
        StudyError: the name is not known, its package is not installed, the URL cannot be read, the files are
            not what they should be, or there are too few images.
    """
    key = f"datasets.{config.name}"
    with blamed(source, key):
        found, defaults = _from_url(config) if config.url is not None else _from_package(_entry(config, source))
    wish = Counts(train=config.num_train, val=config.num_val, test=config.num_test)
    try:
        parts = plan(found.sizes, wish, defaults)
    except TooFew as error:
        raise StudyError(source, f"{key}.{error.key}".rstrip("."), str(error)) from error
    return Source(name=config.name, origin=source, found=found, parts=parts)


def _entry(config: DatasetConfig, source: str) -> Entry:
    key = f"datasets.{config.name}"
    if config.name not in CATALOG:
        raise StudyError(source, key, f"is not in the catalogue and has no url; {nearest(config.name, names())}")
    if config.format is not None:
        raise StudyError(source, f"{key}.format", "needs a url; a catalogue set knows its own format")
    return CATALOG[config.name]


def _from_package(entry: Entry) -> tuple[Found, Counts]:
    place = package_folder(entry.package, entry.folder)
    if place is None:
        raise BadData(f"needs the package {entry.package}, which is not installed: {entry.install}")
    return read_package(entry.read, place, entry.classes), entry.counts


def _from_url(config: DatasetConfig) -> tuple[Found, Counts]:
    assert config.url is not None
    files = listing(config.url)
    kind = config.format or _format(files)
    return (parquet.read(files) if kind == "parquet" else folder.read(files)), Counts()


def _format(files: Files) -> str:
    """Parquet or folder, by the endings."""
    kinds = [
        kind for kind, test in (("parquet", parquet.is_shard), ("folder", folder.is_image)) if any(map(test, files))
    ]
    if len(kinds) != 1:
        problem = "both Parquet shards and images; give the format" if kinds else "neither Parquet shards nor images"
        raise BadData(f"the url holds {problem}")
    return kinds[0]
