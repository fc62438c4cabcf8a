"""A set that was found, held against the catalogue's entry of its name. `building` and `verifying` ask here."""

from __future__ import annotations

import dataclasses

from lion_ray.data.catalog import CATALOG, Entry
from lion_ray.data.item import BadData
from lion_ray.data.pool import Found
from lion_ray.data.source import Source
from lion_ray.data.splits import SPLITS, Counts, TooFew, plan

LOSSLESS = ("raw", "png")


def entry_of(name: str) -> Entry | None:
    """The entry, None for a set of one's own."""
    return CATALOG.get(name)


def checked(found: Found, entry: Entry) -> Found:
    """`found` under the entry's class names.

    Raises:
        BadData: classes or counts are not the entry's.
    """
    if found.classes not in (entry.classes, tuple(map(str, range(len(entry.classes))))):
        raise BadData(f"its {len(found.classes)} classes are not the {len(entry.classes)} of {entry.name}")
    try:
        parts = plan(found.sizes, Counts(), entry.counts)
    except TooFew as error:
        raise BadData(f"is smaller than {entry.name}: {error}") from error
    for split in SPLITS:
        wanted = getattr(entry.counts, split)
        if wanted is not None and parts[split].num != wanted:
            raise BadData(f"{split} has {parts[split].num} images, but {entry.name} has {wanted}")
    return dataclasses.replace(found, classes=entry.classes)


def planned(source: Source, entry: Entry) -> Source:
    """The splits that a study takes of the entry's set."""
    return dataclasses.replace(source, parts=plan(source.found.sizes, Counts(), entry.counts))


def is_lossless(entry: Entry) -> bool:
    """Whether the pixels were published as they were taken."""
    return entry.encoding in LOSSLESS
