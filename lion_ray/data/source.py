"""A dataset as the study file asks for it: found, then planned, then decoded.

`find` is called by `experiments` (for `identity`) and by whoever trains (for `decode`). All faults of the data
become a `StudyError` here, with the study file and the dataset in front.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from lion_ray.config import MODIFIERS, DataConfig, DatasetConfig, StudyError
from lion_ray.data.catalogue import CATALOGUE
from lion_ray.data.catalogue.lookup import entry_of, place_of, read, read_entry
from lion_ray.data.dataset import Dataset, Split
from lion_ray.data.decode.decoding import Resize
from lion_ray.data.decode.encoded import EncodedImages, blamed
from lion_ray.data.decode.storage import IN_MEMORY, Storage
from lion_ray.data.digests import remembered
from lion_ray.data.fingerprint import Fingerprint, Labels
from lion_ray.data.pool import FoundSet, frozen
from lion_ray.data.readers.account import some
from lion_ray.data.readers.labels import warn
from lion_ray.data.select.sampling import Indices, sampled
from lion_ray.data.select.skipping import without_bad
from lion_ray.data.select.splits import Counts, Part, TooFew, plan, with_val_share

NO_ROOT = DataConfig()
NOT_READING = {"url", "num_train", "num_val", "num_test", "val", "seed", *MODIFIERS}  # they choose from what is read


@dataclass(frozen=True, kw_only=True)
class Source:
    """A set whose labels and splits are known and whose images are not decoded yet. `origin` is the study file.

    `url` is where it lies and `reading` how it is read, None in a package. `modifiers` are those of train; `drawn` is
    what they leave of it: indices in its pool, and labels.
    """

    name: str
    origin: str
    found: FoundSet
    parts: Mapping[str, Part]
    url: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    modifiers: Mapping[str, Any] = field(default_factory=dict)
    drawn: tuple[Indices, Labels] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.found.classes

    @property
    def encoding(self) -> str:
        """How the source keeps its pixels: `raw`, `png`, `jpeg`, ..., `mixed`. Reads every image once."""
        return self.fingerprint.encoding

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digest and encoding of all that was found, from memory where the listing of `url` is as it was."""
        with self._blamed():
            if self.url is None or self.found.known is not None:
                return self.found.fingerprint
            return remembered(self.url, self.reading, lambda: self.found.fingerprint)

    def identity(self) -> dict[str, Any]:
        """What makes this data what it is, for JSON and hashing: never a path, a URL or a time.

        The digest covers all that was found (see `fingerprint`) and not skipped; the name enters only where it orders
        a pool.
        """
        identity = {
            "digest": self.fingerprint.digest,
            "encoding": self.fingerprint.encoding,
            "classes": list(self.classes),
            "splits": {split: part.identity(self.name) for split, part in self.parts.items()},
            **({"skipped": dict(self.found.skipped)} if self.found.skipped else {}),
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
        indices, labels = self.chosen(split)
        if split != "train":  # in the source's order, in which they can be streamed
            order = np.argsort(indices)
            indices, labels = indices[order], frozen(labels[order])
        pool = self.found.pools[self.parts[split].pool]
        encoded = EncodedImages(pool=pool, indices=indices, resize=resize, origin=self.origin, key=self._key)
        return storage.keep(split, encoded, labels, num_threads)

    def warn_of_faults(self) -> None:
        """Say in a line each what `data verify` finds wrong and a study knows: leaks, and classes that train lacks.

        Where the source's own splits are not at fault for these, `notes` has them.
        """
        for split, num in self.leaks().items():
            warn(
                f"{self._key}: {num} of {self.parts[split].num} images of {split} are in train, byte for byte: figures "
                f"of {split} do not tell how new images fare; `lion-ray data verify` names them"
            )
        for split, lacking in self.untrained().items():
            if self.parts[split].pool == split and "train" in self.found.pools:
                warn(f"{self._key}: {split} has images of {lacking}, and train has none: they can only be wrong")

    @property
    def notes(self) -> tuple[str, ...]:
        """How the source was read and what of it was not used, and what the study's own numbers of images leave out."""
        cut = {split: lacking for split, lacking in self.untrained().items() if self.parts[split].pool != split}
        told = (f"{split} has images of {lacking}, and train as cut has none" for split, lacking in cut.items())
        return (*self.found.notes, *told)

    def leaks(self) -> dict[str, int]:
        """How many images of val and test are in train byte for byte, by split; of a build that did not look none."""
        alike = [[place.rpartition("/") for place in group.split()] for group in self.fingerprint.repeated or ()]
        groups = [{(pool, int(index)) for pool, _, index in group} for group in alike]
        everywhere = set().union(*groups)
        members = {split: everywhere & self._members(split) for split in self.parts} if groups else {}
        shared = {
            split: sum(len(group & members[split]) for group in groups if group & members["train"])
            for split in ("test", "val")
            if groups
        }
        return {split: num for split, num in shared.items() if num}

    def _members(self, split: str) -> set[tuple[str, int]]:
        return {(self.parts[split].pool, index) for index in self.chosen(split)[0].tolist()}

    def untrained(self) -> dict[str, str]:
        """By split, the classes of its images that train has no image of."""
        known, lacking = np.unique(self.chosen("train")[1]), dict[str, str]()
        for split in ("val", "test"):
            odd = np.setdiff1d(self.chosen(split)[1], known).tolist()
            if odd:
                lacking[split] = some([self.classes[label] for label in odd], "class")
        return lacking

    @property
    def _key(self) -> str:
        return f"datasets.{self.name}"

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        with blamed(self.origin, self._key):
            yield


def find(config: DatasetConfig, where: DataConfig = NO_ROOT, *, source: str = "study") -> Source:
    """Look the set up: labels are read and checked, splits planned, no image decoded unless bad ones are skipped.

    `source` is for messages.

    Raises:
        StudyError: the name is not known, its package is not installed, it has not been built, the URL cannot be read,
            the files are not what they should be, or there are too few images.
    """
    key = f"datasets.{config.name}"
    entry = entry_of(config, source)
    with blamed(source, key):
        url = place_of(entry, where) if entry else config.url
        found = read(url, config, source) if url is not None else read_entry(CATALOGUE[config.name])
        found = entry.checked(found) if entry else found
        found = without_bad(found, key) if where.on_bad_image == "skip" else found
    reading = {**config.model_dump(mode="json", exclude=NOT_READING), "on_bad_image": where.on_bad_image}
    try:
        parts = _parts(config, found, entry.counts if entry else Counts())
        whole = Source(name=config.name, origin=source, found=found, parts=parts, url=url, reading=reading)
        if not config.modifiers:
            return whole
        drawn = sampled(config, *whole.chosen("train"), found.classes)
    except TooFew as error:
        raise StudyError(source, f"{key}.{error.key}".rstrip("."), str(error)) from error
    return replace(whole, modifiers=config.modifiers, drawn=drawn)


def _parts(config: DatasetConfig, found: FoundSet, defaults: Counts) -> Mapping[str, Part]:
    wish = Counts(train=config.num_train, val=config.num_val, test=config.num_test)
    if config.val is not None:
        wish = with_val_share(found.sizes, wish, defaults, config.val)
    return plan(found.sizes, wish, defaults)
