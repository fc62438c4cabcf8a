"""Whether a set is what it says: shards, counts, labels, every image, and nothing of train in test.

`lion-ray data verify` prints the checks of `verify`. Any set that can be read can be verified; one that `building`
wrote is compared with its manifest too, and one of a catalogue name with its entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lion_ray.config import DatasetConfig, StudyError, nearest
from lion_ray.data.build.manifest import MANIFEST, Manifest, damage, find_manifest
from lion_ray.data.catalogue import CATALOGUE, CatalogueEntry, names
from lion_ray.data.item import BadData
from lion_ray.data.readers.listing import listing
from lion_ray.data.select.splits import Counts, TooFew, plan
from lion_ray.data.source import Source, find
from lion_ray.data.verify.census import Census, NamedImage, take
from lion_ray.store import StorageError

Status = Literal["ok", "warning", "wrong"]
RECODED = "JPEG, but published without loss; reported cost: 10 points on CIFAR-100 (adapter_plus issue 3, NOAH 28)"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the table."""

    name: str
    status: Status
    detail: str


def verify(target: str, *, root: str | None = None, format: Any = None) -> list[Check]:
    """All checks, as far as the set can be read; it is right when none is `wrong`.

    `target` is a URL, or a name of the catalogue: its set below `root` if one is given. A set that was built under a
    name of the catalogue is held against the entry wherever it lies.

    Raises:
        ValueError: nothing is there, or the name is not known.
        StorageError: the storage does not answer.
    """
    config = _config(target, root, format)
    manifest, checks = _shards(config)
    entry = CATALOGUE.get(manifest.name if manifest else config.name)
    try:
        source = find(config, source="")
        source = _planned(source, entry) if entry and (manifest or config.name == target) else source
    except (StudyError, TooFew) as error:
        return [*checks, Check(name="readable", status="wrong", detail=_problem(error, config))]
    checks += [Check(name="source", status="ok", detail=note) for note in source.found.notes]
    census = take(source)
    checks += [_counts(source, entry, is_meant=bool(manifest) or config.name == target), _classes(source)]
    checks.append(_images(source, census))
    if manifest is not None:
        checks.append(_digest(manifest, census))
    return [*checks, *_twins(census), _encoding(census, entry)]


def _planned(source: Source, entry: CatalogueEntry) -> Source:
    """The splits that a study takes of the entry's set."""
    return replace(source, parts=plan(source.found.sizes, Counts(), entry.counts))


def _config(target: str, root: str | None, format: Any) -> DatasetConfig:
    if target in CATALOGUE:
        return DatasetConfig(name=target, url=f"{root.rstrip('/')}/{target}" if root else None, format=format)
    if root is not None:
        own = f"one of your own is verified by its URL alone, {root.rstrip('/')}/{target}"
        raise ValueError(f"{target} is no set of the catalogue ({own}); {nearest(target, names())}")
    last = re.sub(r"\W+", "-", target.rstrip("/").rpartition("/")[2].partition(".")[0]).strip("-_")
    return DatasetConfig(name=last or "set", url=target, format=format)


def _shards(config: DatasetConfig) -> tuple[Manifest | None, list[Check]]:
    """The manifest, if a build has written the set, and whether every shard has its digest."""
    if config.url is None:
        return None, []
    files = listing(config.url)
    try:
        manifest = find_manifest(files)
    except BadData as error:
        return None, [Check(name="manifest", status="wrong", detail=str(error))]
    if manifest is None:
        return None, [Check(name="manifest", status="ok", detail="none: no build has written this set")]
    found = damage(manifest, config.url)
    whole = f"{len(manifest.shards)} shards have the digests of {MANIFEST}"
    return manifest, [Check(name="shards", status="wrong" if found else "ok", detail="; ".join(found) or whole)]


def _problem(error: Exception, config: DatasetConfig) -> str:
    """What is wrong with the set's own files; anything else is raised again."""
    cause = error.__cause__ and error.__cause__.__cause__
    if isinstance(cause, StorageError) and not isinstance(cause, FileNotFoundError):
        raise cause
    if config.url is None:
        raise error
    return str(error.args[-1])


def _counts(source: Source, entry: CatalogueEntry | None, *, is_meant: bool) -> Check:
    told = ", ".join(f"{split} {part.num}" for split, part in source.parts.items())
    if entry is None:
        return Check(name="counts", status="ok", detail=f"{told}; {source.name} is not in the catalogue")
    try:
        entry.checked(source.found)
    except BadData as error:
        return Check(name="counts", status="wrong" if is_meant else "warning", detail=str(error))
    return Check(name="counts", status="ok", detail=f"{told}, as the catalogue says")


def _classes(source: Source) -> Check:
    """That labels are in range is known once a set has been read; a class may still be empty."""
    part, pool = source.parts["train"], source.found.pools[source.parts["train"].pool]
    labels = pool.labels[part.indices(source.name, len(pool.labels))]
    if len(source.classes) < 2:
        return Check(name="labels", status="wrong", detail="one class only: there is nothing to tell apart")
    empty = [source.classes[label] for label in np.flatnonzero(np.bincount(labels, minlength=len(source.classes)) == 0)]
    if lacking := source.untrained():
        told = "; ".join(f"{split} has images of {names}" for split, names in lacking.items())
        is_own = source.name not in CATALOGUE and any(source.parts[split].pool == split for split in lacking)
        return Check(
            name="labels",
            status="wrong" if is_own else "warning",
            detail=f"{told}, and train has none: they can only be wrong",
        )
    if empty:
        return Check(name="labels", status="warning", detail=f"no image in train of {', '.join(empty)}")
    return Check(name="labels", status="ok", detail=f"{len(source.classes)} classes, all in train; labels in range")


def _images(source: Source, census: Census) -> Check:
    num = sum(source.found.sizes.values())
    if census.faults.count:
        return Check(name="images", status="wrong", detail=f"{census.faults.count} broken: {census.faults}")
    return Check(name="images", status="ok", detail=f"all {num} decode")


def _digest(manifest: Manifest, census: Census) -> Check:
    if census.digest == manifest.digest:
        return Check(name="digest", status="ok", detail=manifest.digest)
    here = census.digest or "none, for broken images"
    return Check(name="digest", status="wrong", detail=f"{here}, but {MANIFEST} says {manifest.digest}")


def _twins(census: Census) -> Iterator[Check]:
    """Images of equal pixels: in train and test they make every figure wrong, elsewhere they are told."""
    shared = census.twins.pop(("train", "test"), NamedImage())
    detail = f"{shared.count} of test in train: {shared}" if shared.count else "no image is in both"
    yield Check(name="train and test", status="wrong" if shared.count else "ok", detail=detail)
    for (first, second), named in sorted(census.twins.items()):
        where = f"{first} and {second}" if first != second else f"twice in {first}"
        yield Check(name=where, status="warning", detail=f"{named.count}: {named}")


def _encoding(census: Census, entry: CatalogueEntry | None) -> Check:
    counts = ", ".join(f"{name} {num}" for name, num in sorted(census.encodings.items()))
    recoded = entry is not None and entry.is_lossless and census.encodings["jpeg"]
    return Check(
        name="encoding", status="warning" if recoded else "ok", detail=f"{counts}: {RECODED}" if recoded else counts
    )
