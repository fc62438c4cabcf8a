"""Finding and reading a dataset: in a package, built below the study's `data.root`, or at a URL of its own.

`lion_ray.data.source` calls `entry_of`, `place_of`, and `read` or `read_entry`.
"""

from __future__ import annotations

from dataclasses import replace

from lion_ray.config import DataConfig, DatasetConfig, StudyError, nearest
from lion_ray.data import readers
from lion_ray.data.build.manifest import read_with_manifest
from lion_ray.data.catalogue import CATALOGUE, CatalogueEntry, names
from lion_ray.data.catalogue.cutting import read_cut
from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers import tfds
from lion_ray.data.readers.listing import check_unused, listing
from lion_ray.data.readers.notes import similar_class_notes
from lion_ray.data.readers.packages import package_folder, read_package
from lion_ray.store import find_files


def entry_of(config: DatasetConfig, source: str) -> CatalogueEntry | None:
    """The catalogue's entry of a dataset; None if `config` has a URL, whatever its name. `source` is for messages.

    Raises:
        StudyError: there is no URL and the name is unknown, or an option is given that needs a URL.
    """
    key = f"datasets.{config.name}"
    if config.url is not None:
        return None
    if config.name not in CATALOGUE:
        raise StudyError(source, key, f"is not in the catalogue and has no url; {nearest(config.name, names())}")
    for option in ("format", "image_column", "label_column"):
        if getattr(config, option) is not None:
            raise StudyError(source, f"{key}.{option}", "needs a url; a catalogue set knows its own format")
    return CATALOGUE[config.name]


def place_of(entry: CatalogueEntry, where: DataConfig) -> str | None:
    """The URL of the built dataset of an entry; None if it is part of a package.

    Raises:
        BadData: the dataset is not built (the message holds the command that builds it), or `data.root` cannot be read.
    """
    if entry.package is not None:
        return None
    if where.root is None:
        raise BadData(f"is in no package: set data.root to where built sets lie, and {_build(entry, 'ROOT')}")
    url = f"{where.root.rstrip('/')}/{entry.name}"
    try:
        is_there = bool(find_files(url))
    except (ValueError, ImportError) as error:
        raise BadData(f"{url}, by data.root, cannot be read ({error})") from error
    if not is_there:
        raise BadData(f"{url} holds nothing: {_build(entry, where.root)}")
    return url


def read_entry(entry: CatalogueEntry) -> FoundSet:
    """Read the dataset of an entry from its package.

    Raises:
        BadData: the package is not installed, or its files are wrong.
    """
    assert entry.package is not None
    assert entry.read is not None
    place = package_folder(entry.package.name, entry.package.folder)
    if place is None:
        raise BadData(f"needs the package {entry.package.name}, which is not installed: {entry.package.install}")
    return read_package(entry.read, place, entry.classes)


def read(url: str, config: DatasetConfig, source: str) -> FoundSet:
    """Read the dataset at `url`.

    Args:
        url: where it lies.
        config: its entry in the study file; without `format` the names of the files decide.
        source: the study file, for messages.

    Raises:
        StudyError: there is no such format.
        BadData: the URL cannot be read, holds no known format or several, or its data is wrong.
    """
    if config.format is not None and config.format not in readers.formats():
        problem = f"{config.format!r} is not allowed; {nearest(config.format, readers.formats())}"
        raise StudyError(source, f"datasets.{config.name}.format", problem)
    files, entry = listing(url), CATALOGUE.get(config.name)
    columns = readers.ColumnNames(image=config.image_column, label=config.label_column)
    if entry is not None and entry.read_published is not None and entry.published in files:
        found = entry.read_published(files, entry.classes)
    elif entry is not None and entry.cut and any(map(tfds.is_shard, files)):
        found = read_cut(files, entry)
    else:
        found = read_with_manifest(url, files, lambda chosen: readers.read(chosen, config.format, columns))
    check_unused(files.others, found.pools)
    return replace(found, notes=(*found.notes, *similar_class_notes(found.classes), *files.unused()))


def _build(entry: CatalogueEntry, root: str) -> str:
    command = f"lion-ray data build {entry.name} --from SOURCE --to {root.rstrip('/')}/{entry.name}"
    return f"build it with `{command}` (SOURCE: {entry.origin})"
