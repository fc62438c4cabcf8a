"""The checks of `lion-ray data verify`: shards, counts, labels, every image, and test images that are in train.

`lion_ray.cli.data` prints the results of `verify`. Every dataset that can be read can be verified. A built dataset is
also compared with its manifest, and a dataset of the catalogue with its entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lion_ray.config import DatasetConfig, StudyError, nearest
from lion_ray.data.build.manifest import MANIFEST, Manifest, find_manifest, shard_problems
from lion_ray.data.catalogue import CATALOGUE, CatalogueEntry, names
from lion_ray.data.item import BadData
from lion_ray.data.readers.listing import listing
from lion_ray.data.select.splits import SplitCounts, TooFewImages, plan
from lion_ray.data.source import Source, find
from lion_ray.data.verify.census import Census, CountedExamples, take_census
from lion_ray.store import StorageError

Status = Literal["ok", "warning", "wrong"]
RECODED = "JPEG, but published without loss; reported cost: 10 points on CIFAR-100 (adapter_plus issue 3, NOAH 28)"


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check: a row of the table."""

    name: str
    status: Status
    detail: str


def verify(target: str, *, root: str | None = None, format: Any = None) -> list[CheckResult]:
    """Run all checks that the dataset can be read for. The dataset is correct if no check is `wrong`.

    Args:
        target: a URL, or a name of the catalogue. A dataset that was built under a name of the catalogue is compared
            with the entry wherever it lies.
        root: the URL below which a dataset of the catalogue was built; None for one inside a package.
        format: the format of the files, as in a study; None decides by the names of the files.

    Raises:
        ValueError: nothing is there, or the name is unknown.
        StorageError: the storage does not answer.
    """
    config = _config(target, root, format)
    manifest, checks = _shards(config)
    entry = CATALOGUE.get(manifest.name if manifest else config.name)
    try:
        source = find(config, source="")
        source = _planned(source, entry) if entry and (manifest or config.name == target) else source
    except (StudyError, TooFewImages) as error:
        return [*checks, CheckResult(name="readable", status="wrong", detail=_problem(error, config))]
    checks += [CheckResult(name="source", status="ok", detail=note) for note in source.found.notes]
    census = take_census(source)
    checks += [_counts(source, entry, is_meant=bool(manifest) or config.name == target), _classes(source)]
    checks.append(_images(source, census))
    if manifest is not None:
        checks.append(_digest(manifest, census))
    return [*checks, *_twins(census), _encoding(census, entry)]


def _planned(source: Source, entry: CatalogueEntry) -> Source:
    """`source` with the splits that a study cuts by default from the entry's dataset."""
    return replace(source, parts=plan(source.found.sizes, SplitCounts(), entry.counts))


def _config(target: str, root: str | None, format: Any) -> DatasetConfig:
    if target in CATALOGUE:
        return DatasetConfig(name=target, url=f"{root.rstrip('/')}/{target}" if root else None, format=format)
    if root is not None:
        own = f"one of your own is verified by its URL alone, {root.rstrip('/')}/{target}"
        raise ValueError(f"{target} is no set of the catalogue ({own}); {nearest(target, names())}")
    last = re.sub(r"\W+", "-", target.rstrip("/").rpartition("/")[2].partition(".")[0]).strip("-_")
    return DatasetConfig(name=last or "set", url=target, format=format)


def _shards(config: DatasetConfig) -> tuple[Manifest | None, list[CheckResult]]:
    """The manifest if the dataset was built, and the check of its shards' digests."""
    if config.url is None:
        return None, []
    files = listing(config.url)
    try:
        manifest = find_manifest(files)
    except BadData as error:
        return None, [CheckResult(name="manifest", status="wrong", detail=str(error))]
    if manifest is None:
        return None, [CheckResult(name="manifest", status="ok", detail="none: no build has written this set")]
    problems = shard_problems(manifest, config.url)
    whole = f"{len(manifest.shards)} shards have the digests of {MANIFEST}"
    status: Status = "wrong" if problems else "ok"
    return manifest, [CheckResult(name="shards", status=status, detail="; ".join(problems) or whole)]


def _problem(error: Exception, config: DatasetConfig) -> str:
    """The message of a fault in the dataset's files. Other errors are raised again."""
    cause = error.__cause__ and error.__cause__.__cause__
    if isinstance(cause, StorageError) and not isinstance(cause, FileNotFoundError):
        raise cause
    if config.url is None:
        raise error
    return str(error.args[-1])


def _counts(source: Source, entry: CatalogueEntry | None, *, is_meant: bool) -> CheckResult:
    sizes = ", ".join(f"{split} {part.num}" for split, part in source.parts.items())
    if entry is None:
        return CheckResult(name="counts", status="ok", detail=f"{sizes}; {source.name} is not in the catalogue")
    try:
        entry.checked(source.found)
    except BadData as error:
        return CheckResult(name="counts", status="wrong" if is_meant else "warning", detail=str(error))
    return CheckResult(name="counts", status="ok", detail=f"{sizes}, as the catalogue says")


def _classes(source: Source) -> CheckResult:
    """The check of classes without images. Labels out of range are already found by reading."""
    part, pool = source.parts["train"], source.found.pools[source.parts["train"].pool]
    labels = pool.labels[part.indices(source.name, len(pool.labels))]
    if len(source.classes) < 2:
        return CheckResult(name="labels", status="wrong", detail="one class only: there is nothing to tell apart")
    empty = [source.classes[label] for label in np.flatnonzero(np.bincount(labels, minlength=len(source.classes)) == 0)]
    if lacking := source.untrained():
        problem = "; ".join(f"{split} has images of {names}" for split, names in lacking.items())
        is_own = source.name not in CATALOGUE and any(source.parts[split].pool == split for split in lacking)
        return CheckResult(
            name="labels",
            status="wrong" if is_own else "warning",
            detail=f"{problem}, and train has none: they can only be wrong",
        )
    if empty:
        return CheckResult(name="labels", status="warning", detail=f"no image in train of {', '.join(empty)}")
    return CheckResult(
        name="labels", status="ok", detail=f"{len(source.classes)} classes, all in train; labels in range"
    )


def _images(source: Source, census: Census) -> CheckResult:
    num = sum(source.found.sizes.values())
    if census.faults.count:
        return CheckResult(name="images", status="wrong", detail=f"{census.faults.count} broken: {census.faults}")
    return CheckResult(name="images", status="ok", detail=f"all {num} decode")


def _digest(manifest: Manifest, census: Census) -> CheckResult:
    if census.digest == manifest.digest:
        return CheckResult(name="digest", status="ok", detail=manifest.digest)
    here = census.digest or "none, for broken images"
    return CheckResult(name="digest", status="wrong", detail=f"{here}, but {MANIFEST} says {manifest.digest}")


def _twins(census: Census) -> Iterator[CheckResult]:
    """The checks for images with equal pixels: in train and test they are an error, elsewhere a warning."""
    shared = census.twins.pop(("train", "test"), CountedExamples())
    detail = f"{shared.count} of test in train: {shared}" if shared.count else "no image is in both"
    yield CheckResult(name="train and test", status="wrong" if shared.count else "ok", detail=detail)
    for (first, second), named in sorted(census.twins.items()):
        where = f"{first} and {second}" if first != second else f"twice in {first}"
        yield CheckResult(name=where, status="warning", detail=f"{named.count}: {named}")


def _encoding(census: Census, entry: CatalogueEntry | None) -> CheckResult:
    counts = ", ".join(f"{name} {num}" for name, num in sorted(census.encodings.items()))
    recoded = entry is not None and entry.is_lossless and census.encodings["jpeg"]
    return CheckResult(
        name="encoding", status="warning" if recoded else "ok", detail=f"{counts}: {RECODED}" if recoded else counts
    )
