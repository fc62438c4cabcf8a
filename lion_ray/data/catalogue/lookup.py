"""Where a set lies and what is there: in a package, built below the study's `data.root`, or at a URL of its own.

`source` calls `place_of` and `read`; what a catalogue's set turns out to be is held against its entry.
"""

from __future__ import annotations

from dataclasses import replace

from lion_ray.config import DataConfig, DatasetConfig, StudyError, nearest
from lion_ray.data import readers
from lion_ray.data.build.manifest import trusted
from lion_ray.data.catalogue import CATALOGUE, CatalogueEntry, names
from lion_ray.data.catalogue.cutting import read_cut
from lion_ray.data.item import BadData
from lion_ray.data.pool import FoundSet
from lion_ray.data.readers import tfds
from lion_ray.data.readers.account import alike
from lion_ray.data.readers.listing import check_unused, listing
from lion_ray.data.readers.packages import package_folder, read_package
from lion_ray.store import find_files


def entry_of(config: DatasetConfig, source: str) -> CatalogueEntry | None:
    """The catalogue's entry; None for a set at a URL of its own, whatever its name.

    Raises:
        StudyError: there is no URL and the name is not known, or a format is given for a set that knows its own.
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
    """The URL of the built set; None if it ships in a package.

    Raises:
        BadData: it is not built, with the command that builds it; or the root is no URL that can be read.
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
    """The set in its package.

    Raises:
        BadData: the package is not installed, or its files are at fault.
    """
    assert entry.package is not None
    assert entry.read is not None
    place = package_folder(entry.package.name, entry.package.folder)
    if place is None:
        raise BadData(f"needs the package {entry.package.name}, which is not installed: {entry.package.install}")
    return read_package(entry.read, place, entry.classes)


def read(url: str, config: DatasetConfig, source: str) -> FoundSet:
    """The set at `url`, in the format that `config` names or else the files' names tell.

    Raises:
        StudyError: there is no such format.
        BadData: the URL cannot be read, holds no format or several, or its data is at fault.
    """
    if config.format is not None and config.format not in readers.formats():
        problem = f"{config.format!r} is not allowed; {nearest(config.format, readers.formats())}"
        raise StudyError(source, f"datasets.{config.name}.format", problem)
    files, entry = listing(url), CATALOGUE.get(config.name)
    columns = readers.Columns(image=config.image_column, label=config.label_column)
    if entry is not None and entry.read_published is not None and entry.published in files:
        found = entry.read_published(files, entry.classes)
    elif entry is not None and entry.cut and any(map(tfds.is_shard, files)):
        found = read_cut(files, entry)
    else:
        found = trusted(url, files, lambda chosen: readers.read(chosen, config.format, columns))
    check_unused(files.others, found.pools)
    return replace(found, notes=(*found.notes, *alike(found.classes), *files.unused()))


def _build(entry: CatalogueEntry, root: str) -> str:
    command = f"lion-ray data build {entry.name} --from SOURCE --to {root.rstrip('/')}/{entry.name}"
    return f"build it with `{command}` (SOURCE: {entry.origin})"
