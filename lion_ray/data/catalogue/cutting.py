"""Reading a VTAB task from TFDS records: labels by the task's rule, splits by its slices, unusual images converted.

`lookup` calls `read_cut` for an entry with slices (`CatalogueEntry.cut`) if its URL holds TFDS records. Slices count by
position and are not stratified, as in google-research/task_adaptation.
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
from lion_ray.data.catalogue.slices import SplitSlice, slices_of
from lion_ray.data.files import Readable
from lion_ray.data.item import BadData
from lion_ray.data.pool import FilePool, FoundSet, as_labels
from lion_ray.data.readers import tfds
from lion_ray.data.readers.listing import Files
from lion_ray.data.readers.notes import classes_note

AS_STORED = "image"
"""The image rule that changes nothing. Its files are kept byte for byte."""


def read_cut(files: Files, entry: CatalogueEntry) -> FoundSet:
    """Read the splits of `entry` from the TFDS records in `files`.

    Raises:
        BadData: a record lacks a field of the rules, or a TFDS split is too small for its slice.
    """
    rule = partial(label_of, entry.label_rule, num_classes=entry.num_classes)
    splits = tfds.labelled(files, rule)
    cuts = slices_of(entry.cut, {name: len(found.labels) for name, found in splits.items()})
    classes = entry.classes or tuple(map(str, range(entry.num_classes)))
    notes = (
        "splits by the catalogue's slices: " + ", ".join(f"{split} {cut}" for split, cut in entry.cut.items()),
        classes_note(classes, "by the catalogue"),
    )
    return FoundSet(
        classes=classes, pools={split: _pool(splits, cut, entry) for split, cut in cuts.items()}, notes=notes
    )


def _pool(splits: Mapping[str, tfds.LabelledSplit], cut: SplitSlice, entry: CatalogueEntry) -> FilePool:
    chosen = slice(cut.start, cut.stop)
    images = splits[cut.split].images[chosen]
    names = tuple(image.where for image in images)
    files: tuple[Readable, ...] = images
    if entry.image_rule != AS_STORED:
        files = tuple(_ConvertedImage(image=image, rule=entry.image_rule) for image in images)
    return FilePool(files=files, names=names, labels=as_labels(splits[cut.split].labels[chosen]))


@dataclass(frozen=True, kw_only=True, slots=True)
class _ConvertedImage:
    """The image of a record, converted by an image rule to PNG."""

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
