"""The datasets known by name, one declarative entry each. Datasets at a URL of their own need no entry.

`vtab` holds the 19 VTAB-1k tasks, `benchmarks` other published datasets, and `packaged` those inside Python packages.
`rules` turn a TFDS record into label and pixels, and `slices` choose images of a TFDS split; both are pure functions.
`lion_ray.data.source` reads a dataset through `lookup`.
"""

from lion_ray.data.catalogue.benchmarks import BENCHMARKS
from lion_ray.data.catalogue.entry import CatalogueEntry, DatasetOrigin, ImagePackage
from lion_ray.data.catalogue.packaged import PACKAGED
from lion_ray.data.catalogue.rules import image_of, label_of
from lion_ray.data.catalogue.slices import SplitSlice, slices_of
from lion_ray.data.catalogue.vtab import VTAB

CATALOGUE = {entry.name: entry for entry in (*PACKAGED, *VTAB, *BENCHMARKS)}
assert len(CATALOGUE) == len(PACKAGED) + len(VTAB) + len(BENCHMARKS), "two entries of one name"


def names() -> tuple[str, ...]:
    """The names a study file may use without a URL."""
    return tuple(CATALOGUE)


__all__ = [
    "CATALOGUE",
    "CatalogueEntry",
    "DatasetOrigin",
    "ImagePackage",
    "SplitSlice",
    "image_of",
    "label_of",
    "names",
    "slices_of",
]
