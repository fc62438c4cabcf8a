"""One entry of the catalogue, and the check that a dataset matches its entry.

`vtab`, `benchmarks` and `packaged` declare entries. `lion_ray.data.source`, `lion_ray.data.build` and
`lion_ray.data.verify` call `CatalogueEntry.checked`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers.listing import Files
from lion_ray.data.readers.packages import Reader
from lion_ray.data.select.splits import SplitCounts

LOSSLESS = {"raw", "png"}


@dataclass(frozen=True, kw_only=True)
class DatasetOrigin:
    """Where a dataset comes from: its web page, its TFDS name and version, and its id on the HuggingFace Hub."""

    homepage: str
    tfds: str | None = None
    hub: str | None = None

    def __str__(self) -> str:
        known = [f"TFDS {self.tfds}" if self.tfds else "", f"hf://datasets/{self.hub}" if self.hub else ""]
        return ", ".join([*filter(None, known), self.homepage])


@dataclass(frozen=True, kw_only=True)
class ImagePackage:
    """A Python distribution that holds the dataset in `folder`, and the command that installs it."""

    name: str
    folder: str
    install: str


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """A dataset of the catalogue.

    Attributes:
        name, title: the name in study files, and a title for tables.
        suite, group: the benchmark it belongs to, such as `vtab1k`, and the group of tasks in it.
        num_classes, classes: how many classes, and their names; no names if the source has them.
        sizes: images in each pool of the source: `pool` alone, or the source's splits.
        encoding: how the pixels were published. A lossless dataset that is found as JPEG has been re-encoded.
        licence, origin: the licence, and where the dataset comes from.
        label_rule, image_rule: names of rules in `rules` that make label and pixels of a TFDS record.
        cut, tfds_sizes: for each split a slice of the TFDS splits, and the sizes of the TFDS splits.
        package, read: the package with the dataset, and the function that reads its files.
        published, read_published: a file name that identifies a published source without a general format, and the
            function that reads this source.
        counts: the default counts with which a pool is cut.
    """

    name: str
    title: str
    suite: str
    group: str = ""
    num_classes: int
    classes: tuple[str, ...] = ()
    sizes: Mapping[str, int]
    encoding: str
    licence: str
    origin: DatasetOrigin
    label_rule: str = "label"
    image_rule: str = "image"
    cut: Mapping[str, str] = field(default_factory=dict)
    tfds_sizes: Mapping[str, int] = field(default_factory=dict)
    package: ImagePackage | None = None
    read: Reader | None = None
    published: str = ""
    read_published: Callable[[Files, tuple[str, ...]], FoundSet] | None = None
    counts: SplitCounts = field(default_factory=SplitCounts)

    def __post_init__(self) -> None:
        assert len(self.classes) in (0, self.num_classes), self.name

    @property
    def is_lossless(self) -> bool:
        """Whether the pixels were published without lossy compression."""
        return self.encoding in LOSSLESS

    def checked(self, found: FoundSet) -> FoundSet:
        """Check `found` against this entry, and return it with the entry's class names.

        Raises:
            BadData: splits, counts, the number of classes or their names differ.
        """
        if set(found.sizes) != set(self.sizes):
            raise BadData(f"holds {_sizes_text(found.sizes)}, but {self.name} has {_sizes_text(self.sizes)}")
        for split, number in self.sizes.items():
            if found.sizes[split] != number:
                raise BadData(f"{split} has {found.sizes[split]} images, but {self.name} has {number}")
        if len(found.classes) != self.num_classes:
            raise BadData(f"has {len(found.classes)} classes, but {self.name} has {self.num_classes}")
        if not self.classes or found.classes == self.classes:
            return found
        for label, (here, known) in enumerate(zip(found.classes, self.classes, strict=True)):
            if here != str(label) and _plain(here) != _plain(known):
                raise BadData(f"class {label} is {here!r}, but in {self.name} it is {known!r}")
        return replace(found, classes=self.classes)


def _sizes_text(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {number}" for split, number in sizes.items())


def _plain(name: str) -> str:
    """A class name in lower case without blanks and dashes, which sources spell differently."""
    return "".join(filter(str.isalnum, name)).casefold()
