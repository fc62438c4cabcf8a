"""One entry of the catalogue, and whether a set that was found is what its entry says.

`vtab`, `benchmarks` and `packaged` declare entries; `source`, the build and the verification use them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers.listing import Files
from lion_ray.data.readers.packages import Reader
from lion_ray.data.select.splits import Counts

LOSSLESS = {"raw", "png"}


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a set comes from: its page, its name and version in TFDS, its id among HuggingFace's datasets."""

    homepage: str
    tfds: str | None = None
    hub: str | None = None

    def __str__(self) -> str:
        known = [f"TFDS {self.tfds}" if self.tfds else "", f"hf://datasets/{self.hub}" if self.hub else ""]
        return ", ".join([*filter(None, known), self.homepage])


@dataclass(frozen=True, kw_only=True)
class ImagePackage:
    """A distribution that holds the set: `folder` inside it, and the command that installs it."""

    name: str
    folder: str
    install: str


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """A set. `sizes` is what has to be found: `pool` alone, or the splits that the source names.

    `classes` is empty where the names are left to the source. `encoding` is how the pixels were published: a set that
    was published without loss and is found as JPEG has been recoded. `label_rule` and `image_rule` name rules of
    `rules`; `cut` names, per split, a slice of the TFDS splits, whose sizes are `tfds_sizes`. `counts` cuts a pool.
    `read` knows the package's files; `read_published` those of a source that no general reader knows, told by its
    file `published`.
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
    origin: Origin
    label_rule: str = "label"
    image_rule: str = "image"
    cut: Mapping[str, str] = field(default_factory=dict)
    tfds_sizes: Mapping[str, int] = field(default_factory=dict)
    package: ImagePackage | None = None
    read: Reader | None = None
    published: str = ""
    read_published: Callable[[Files, tuple[str, ...]], FoundSet] | None = None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        assert len(self.classes) in (0, self.num_classes), self.name

    @property
    def is_lossless(self) -> bool:
        """Whether the pixels were published as they were taken."""
        return self.encoding in LOSSLESS

    def checked(self, found: FoundSet) -> FoundSet:
        """`found` under this entry's class names.

        Raises:
            BadData: splits, counts, the number of classes or their names are others.
        """
        if set(found.sizes) != set(self.sizes):
            raise BadData(f"holds {_words(found.sizes)}, but {self.name} has {_words(self.sizes)}")
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


def _words(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {number}" for split, number in sizes.items())


def _plain(name: str) -> str:
    """A class name without what sources spell differently: case, blanks, dashes."""
    return "".join(filter(str.isalnum, name)).casefold()
