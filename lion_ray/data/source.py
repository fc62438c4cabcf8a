"""A dataset as the study file asks for it: `find` reads labels and plans splits, `Source.decode` reads the pixels.

`lion_ray.experiments` calls `find` for `Source.identity`, and `lion_ray.sweep.shared_dataset` for `Source.decode`. All
faults of the data become a `StudyError` that begins with the study file and the dataset.
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
from lion_ray.data.decode.encoded import EncodedImages, as_study_error
from lion_ray.data.decode.storage import IN_MEMORY, SplitStorage
from lion_ray.data.digests import cached_fingerprint
from lion_ray.data.fingerprint import Fingerprint, Labels
from lion_ray.data.pool import FoundSet, read_only
from lion_ray.data.readers.labels import warn
from lion_ray.data.readers.notes import count_and_names
from lion_ray.data.select.sampling import Indices, apply_modifiers
from lion_ray.data.select.skipping import without_bad_images
from lion_ray.data.select.splits import SplitCounts, SplitRange, TooFewImages, plan, with_val_share

NO_ROOT = DataConfig()
# These options choose among the images, so they do not change how the source is read.
NOT_READING = {"url", "num_train", "num_val", "num_test", "val", "seed", *MODIFIERS}


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset with known labels and splits, and images that are not decoded yet.

    Attributes:
        name, origin: the dataset's name, and the study file for messages.
        found, parts: labels and encoded images, and the range of a pool that makes each split.
        url, reading: where the dataset lies (None inside a Python package), and the options with which it was read.
        modifiers, drawn: the modifiers of train such as `shots`, and the indices and labels (N,) that they keep.
    """

    name: str
    origin: str
    found: FoundSet
    parts: Mapping[str, SplitRange]
    url: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    modifiers: Mapping[str, Any] = field(default_factory=dict)
    drawn: tuple[Indices, Labels] | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names. A label is an index into them."""
        return self.found.classes

    @property
    def encoding(self) -> str:
        """See `Fingerprint.encoding`. Reads every image once."""
        return self.fingerprint.encoding

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """Digest and encoding of all images, from the cache if the listing of `url` has not changed."""
        with self._faults_as_study_errors():
            if self.url is None or self.found.known is not None:
                return self.found.fingerprint
            return cached_fingerprint(self.url, self.reading, lambda: self.found.fingerprint)

    def identity(self) -> dict[str, Any]:
        """The data's identity as JSON values, which are hashed. It holds no path, URL or time.

        The digest covers all images that were not skipped. The name is part of it only where it orders a pool.
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
        """The images of a split: their indices in the split's pool and their labels, both (N,)."""
        if split == "train" and self.drawn is not None:
            return self.drawn
        part = self.parts[split]
        labels = self.found.pools[part.pool].labels
        indices = part.indices(self.name, len(labels))
        return indices, read_only(labels[indices])

    def decode(
        self,
        *,
        size: int,
        interpolation: str = "bicubic",
        crop_fraction: float | None = None,
        num_threads: int | None = None,
        storage: SplitStorage = IN_MEMORY,
    ) -> Dataset:
        """Read, decode and resize the images. Val and test keep the source's order, in which they can be streamed.

        Args:
            size, interpolation, crop_fraction: see `Resize`.
            num_threads: None uses all cores of this process.
            storage: where each split is kept; splits that are not in memory are decoded later.

        Raises:
            StudyError: an image is missing or broken.
        """
        resize = Resize(size=size, interpolation=interpolation, crop_fraction=crop_fraction)
        splits = {split: self._split(split, resize, storage, num_threads) for split in self.parts}
        return Dataset(name=self.name, classes=self.classes, **splits)

    def _split(self, split: str, resize: Resize, storage: SplitStorage, num_threads: int | None) -> Split:
        indices, labels = self.chosen(split)
        if split != "train":  # the source's order, in which a split can be streamed
            order = np.argsort(indices)
            indices, labels = indices[order], read_only(labels[order])
        pool = self.found.pools[self.parts[split].pool]
        encoded = EncodedImages(pool=pool, indices=indices, resize=resize, origin=self.origin, key=self._key)
        return storage.keep(split, encoded, labels, num_threads)

    def warn_of_faults(self) -> None:
        """Warn of val and test images in train, and of classes that the source's own train split lacks."""
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
        """Lines on how the source was read, the files not used, and the classes that the study's counts leave out."""
        cut = {split: lacking for split, lacking in self.untrained().items() if self.parts[split].pool != split}
        notes = (f"{split} has images of {lacking}, and train as cut has none" for split, lacking in cut.items())
        return (*self.found.notes, *notes)

    @property
    def counts_note(self) -> str:
        """How many images of each split the study uses, as one line."""
        counts = ", ".join(f"{len(self.chosen(split)[1]):,} {split}" for split in self.parts)
        return f"images that the study uses: {counts}"

    def leaks(self) -> dict[str, int]:
        """How many images of val and test have the bytes of a training image, by split. Empty if never checked."""
        repeats = [[place.rpartition("/") for place in group.split()] for group in self.fingerprint.repeated or ()]
        groups = [{(pool, int(index)) for pool, _, index in group} for group in repeats]
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
        """By split, the classes of its images that have no training image, as text."""
        known, lacking = np.unique(self.chosen("train")[1]), dict[str, str]()
        for split in ("val", "test"):
            odd = np.setdiff1d(self.chosen(split)[1], known).tolist()
            if odd:
                lacking[split] = count_and_names([self.classes[label] for label in odd], "class")
        return lacking

    @property
    def _key(self) -> str:
        return f"datasets.{self.name}"

    @contextmanager
    def _faults_as_study_errors(self) -> Iterator[None]:
        with as_study_error(self.origin, self._key):
            yield


def find(config: DatasetConfig, where: DataConfig = NO_ROOT, *, source: str = "study") -> Source:
    """Find a dataset: read and check its labels and plan its splits. Images are decoded only to skip bad ones.

    Args:
        config: the dataset's entry in the study file.
        where: the study's `data` section, with `root` and `on_bad_image`.
        source: the study file, for messages.

    Raises:
        StudyError: the name is not known, its package is not installed, it has not been built, the URL cannot be read,
            the files are not what they should be, or there are too few images.
    """
    key = f"datasets.{config.name}"
    entry = entry_of(config, source)
    with as_study_error(source, key):
        url = place_of(entry, where) if entry else config.url
        found = read(url, config, source) if url is not None else read_entry(CATALOGUE[config.name])
        found = entry.checked(found) if entry else found
        found = without_bad_images(found, key) if where.on_bad_image == "skip" else found
    reading = {**config.model_dump(mode="json", exclude=NOT_READING), "on_bad_image": where.on_bad_image}
    try:
        parts = _parts(config, found, entry.counts if entry else SplitCounts())
        whole = Source(name=config.name, origin=source, found=found, parts=parts, url=url, reading=reading)
        if not config.modifiers:
            return whole
        drawn = apply_modifiers(config, *whole.chosen("train"), found.classes)
    except TooFewImages as error:
        raise StudyError(source, f"{key}.{error.key}".rstrip("."), str(error)) from error
    return replace(whole, modifiers=config.modifiers, drawn=drawn)


def _parts(config: DatasetConfig, found: FoundSet, defaults: SplitCounts) -> Mapping[str, SplitRange]:
    wish = SplitCounts(train=config.num_train, val=config.num_val, test=config.num_test)
    if config.val is not None:
        wish = with_val_share(found.sizes, wish, defaults, config.val)
    return plan(found.sizes, wish, defaults)
