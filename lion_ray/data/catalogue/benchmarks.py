"""Published datasets other than VTAB-1k: fine-grained ones (FGVC), CIFAR, ImageNet-100 and Clothing1M.

Counts are those of the official splits. Where a dataset has no val split, a study cuts one from train (`val: fraction`
or `num_val`).
"""

from __future__ import annotations

from collections.abc import Mapping

from lion_ray.data.catalogue.entry import CatalogueEntry, DatasetOrigin

CIFAR_10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CLOTHING = (
    *("T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker"),
    *("Jacket", "Down Coat", "Suit", "Shawl", "Dress", "Vest", "Underwear"),
)


def _clothing(name: str, title: str, train: int) -> CatalogueEntry:
    return CatalogueEntry(
        name=name,
        title=title,
        suite="noisy",
        num_classes=len(CLOTHING),
        classes=CLOTHING,
        sizes={"train": train, "val": 14313, "test": 10526},
        encoding="jpeg",
        licence="research; from the authors on request",
        origin=DatasetOrigin(homepage="https://github.com/Cysu/noisy_label"),
    )


def _from_tfds(**fields: object) -> CatalogueEntry:
    """The entry of a dataset whose splits are those of TFDS."""
    sizes = fields["sizes"]
    assert isinstance(sizes, Mapping)
    tfds_names = {split: "validation" if split == "val" else split for split in sizes}
    tfds = {tfds_names[split]: number for split, number in sizes.items()}
    return CatalogueEntry(cut=tfds_names, tfds_sizes=tfds, **fields)  # type: ignore[arg-type]


BENCHMARKS = (
    _from_tfds(
        name="cub_200_2011",
        title="CUB-200-2011",
        suite="fgvc",
        num_classes=200,
        sizes={"train": 5994, "test": 5794},
        encoding="jpeg",
        licence="non-commercial research",
        origin=DatasetOrigin(
            homepage="https://www.vision.caltech.edu/datasets/cub_200_2011/", tfds="caltech_birds2011"
        ),
    ),
    CatalogueEntry(
        name="nabirds",
        title="NABirds",
        suite="fgvc",
        num_classes=555,
        sizes={"train": 23929, "test": 24633},
        encoding="jpeg",
        licence="terms of the Cornell Lab, non-commercial",
        origin=DatasetOrigin(homepage="https://dl.allaboutbirds.org/nabirds"),
    ),
    _from_tfds(
        name="oxford_flowers",
        title="Oxford Flowers-102, whole",
        suite="fgvc",
        num_classes=102,
        sizes={"train": 1020, "val": 1020, "test": 6149},
        encoding="jpeg",
        licence="none stated",
        origin=DatasetOrigin(
            homepage="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/", tfds="oxford_flowers102:2.1.1"
        ),
    ),
    _from_tfds(
        name="stanford_dogs",
        title="Stanford Dogs",
        suite="fgvc",
        num_classes=120,
        sizes={"train": 12000, "test": 8580},
        encoding="jpeg",
        licence="terms of ImageNet, non-commercial",
        origin=DatasetOrigin(homepage="http://vision.stanford.edu/aditya86/ImageNetDogs/", tfds="stanford_dogs"),
    ),
    _from_tfds(
        name="stanford_cars",
        title="Stanford Cars",
        suite="fgvc",
        num_classes=196,
        sizes={"train": 8144, "test": 8041},
        encoding="jpeg",
        licence="non-commercial research",
        origin=DatasetOrigin(homepage="https://ai.stanford.edu/~jkrause/cars/car_dataset.html", tfds="cars196"),
    ),
    _from_tfds(
        name="cifar10",
        title="CIFAR-10, whole",
        suite="cifar",
        num_classes=10,
        classes=CIFAR_10,
        sizes={"train": 50000, "test": 10000},
        encoding="png",
        licence="none stated",
        origin=DatasetOrigin(homepage="https://www.cs.toronto.edu/~kriz/cifar.html", tfds="cifar10:3.0.2"),
    ),
    _from_tfds(
        name="cifar100",
        title="CIFAR-100, whole",
        suite="cifar",
        num_classes=100,
        sizes={"train": 50000, "test": 10000},
        encoding="png",
        licence="none stated",
        origin=DatasetOrigin(homepage="https://www.cs.toronto.edu/~kriz/cifar.html", tfds="cifar100:3.0.2"),
    ),
    CatalogueEntry(  # the 100 classes of CMC's list; sets by other lists have other counts and are given by their URL
        name="imagenet100",
        title="ImageNet-100, CMC's classes",
        suite="imagenet",
        num_classes=100,
        sizes={"train": 126689, "val": 5000},
        encoding="jpeg",
        licence="terms of ImageNet, non-commercial",
        origin=DatasetOrigin(homepage="https://arxiv.org/abs/1906.05849", hub="clane9/imagenet-100"),
    ),
    _clothing("clothing1m", "Clothing1M, noisy labels", 1000000),
    _clothing("clothing1m_clean", "Clothing1M, clean labels", 47570),
)
