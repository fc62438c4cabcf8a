"""What TFDS prepared, as a task of the catalogue: labels by its rule, splits by its slices, odd images made plain.

`lookup` calls `read_cut` for an entry that has slices (`CatalogueEntry.cut`) and a URL that holds TFDS records. Slices
are positional and unstratified, as task_adaptation cuts them.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from lion_ray.data.catalogue.entry import CatalogueEntry
from lion_ray.data.catalogue.rules import image_of, label_of
from lion_ray.data.catalogue.slices import Slice, pieces
from lion_ray.data.files import Readable
from lion_ray.data.item import BadData
from lion_ray.data.pool import FilePool, FoundSet, as_labels
from lion_ray.data.readers import tfds
from lion_ray.data.readers.account import classes_told
from lion_ray.data.readers.listing import Files

AS_STORED = "image"
"""The image rule that changes nothing: such files stay byte for byte."""


def read_cut(files: Files, entry: CatalogueEntry) -> FoundSet:
    """The splits of `entry` from the records in `files`.

    Raises:
        BadData: a record has not what the rules ask, or TFDS's splits are too small for the slices.
    """
    rule = partial(label_of, entry.label_rule, num_classes=entry.num_classes)
    splits = tfds.labelled(files, rule)
    cuts = pieces(entry.cut, {name: len(found.labels) for name, found in splits.items()})
    classes = entry.classes or tuple(map(str, range(entry.num_classes)))
    notes = (
        "splits by the catalogue's slices: " + ", ".join(f"{split} {cut}" for split, cut in entry.cut.items()),
        classes_told(classes, "by the catalogue"),
    )
    return FoundSet(
        classes=classes, pools={split: _pool(splits, cut, entry) for split, cut in cuts.items()}, notes=notes
    )


def _pool(splits: Mapping[str, tfds.LabelledRecord], cut: Slice, entry: CatalogueEntry) -> FilePool:
    chosen = slice(cut.start, cut.stop)
    images = splits[cut.split].images[chosen]
    names = tuple(image.where for image in images)
    files: tuple[Readable, ...] = images
    if entry.image_rule != AS_STORED:
        files = tuple(_Made(image=image, rule=entry.image_rule) for image in images)
    return FilePool(files=files, names=names, labels=as_labels(splits[cut.split].labels[chosen]))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Made:
    """A record's image under an image rule, as PNG."""

    image: tfds.RecordImage
    rule: str

    def read(self) -> bytes:
        """See `Readable.read`."""
        payload = self.image.read()
        try:
            stored = np.atleast_3d(np.asarray(Image.open(io.BytesIO(payload))))
        except (OSError, SyntaxError) as error:
            raise BadData(f"{self.image.where}: the image cannot be decoded ({error})") from error
        file = io.BytesIO()
        Image.fromarray(image_of(self.rule, {"image": stored})).save(file, "png")
        return file.getvalue()
