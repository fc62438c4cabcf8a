"""The sets known by name, one declarative entry each. `source.find` looks them up; a study's own sets need no entry.

`vtab` holds the 19 VTAB-1k tasks, `benchmarks` the other published sets, `packaged` those inside packages. `rules` turn
a TFDS record into label and pixels, `slices` say which images of a TFDS split are meant; both are pure functions.
"""

from lion_ray.data.catalogue.benchmarks import BENCHMARKS
from lion_ray.data.catalogue.entry import CatalogueEntry, ImagePackage, Origin
from lion_ray.data.catalogue.packaged import PACKAGED
from lion_ray.data.catalogue.rules import image_of, label_of
from lion_ray.data.catalogue.slices import Slice, pieces
from lion_ray.data.catalogue.vtab import VTAB

CATALOGUE = {entry.name: entry for entry in (*PACKAGED, *VTAB, *BENCHMARKS)}
assert len(CATALOGUE) == len(PACKAGED) + len(VTAB) + len(BENCHMARKS), "two entries of one name"


def names() -> tuple[str, ...]:
    """The names a study file may use without a URL."""
    return tuple(CATALOGUE)


__all__ = ["CATALOGUE", "CatalogueEntry", "ImagePackage", "Origin", "Slice", "image_of", "label_of", "names", "pieces"]
