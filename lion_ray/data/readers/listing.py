"""The listing of a dataset's files by relative path, and the split that a path names. Every reader starts with it.

A listing takes one request per thousand files. No file is opened, and object stores get no request for a single file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from lion_ray.data.files import File, UrlFile, is_web
from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL
from lion_ray.data.readers.archive import members
from lion_ray.data.readers.junk import PACKED, exclusion_reason, is_document
from lion_ray.data.readers.notes import TrackedFiles
from lion_ray.data.readers.split_names import SPLIT_NAMES, check_words, split_of, split_word
from lion_ray.store import canonical, find_files, is_local

IMAGES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
"""The endings of image files, in lower case."""

SINGLE = (".parquet", ".tar", ".npz", ".csv")
"""A URL with such an ending is one file and is not listed, because web servers cannot list."""

Files = Mapping[str, File]
"""Files by relative path, sorted by path."""


def listing(url: str) -> TrackedFiles:
    """List every file below `url`, or `url` itself if it is a file. Hidden files and files of systems are left out.

    Folders whose name begins with a dot are listed. A zip archive is listed as the folder that it holds.

    Raises:
        BadData: the URL cannot be read, nothing is there, or a link leads out of the root.
    """
    try:
        paths = _all_files(url)
    except BadData:
        raise
    except Exception as error:
        raise BadData(f"{url} cannot be read ({type(error).__name__}: {error})") from error
    reasons = {path: exclusion_reason(path) for path in sorted(paths)}
    files = {path: paths[path] for path, reason in reasons.items() if reason is None}
    _check_names(files)
    _check_links(files, url)
    if not files:
        missing = is_local(url) and not os.path.lexists(canonical(url))
        raise BadData(f"{url} does not exist" if missing else f"{url} holds no files")
    unseen: dict[str, list[str]] = {}
    for path, reason in reasons.items():
        if reason is not None:
            unseen.setdefault(reason, []).append(path)
    return TrackedFiles(files, unseen, _empty_folders(url))


def by_split(paths: Iterable[str], kind: str) -> dict[str, list[str]]:
    """Group the paths of shards by the split that they name; `pool` is the only key if no path names one.

    `kind` says what the shards are, for messages.

    Raises:
        BadData: there are no shards, several datasets, splits without train, one split under two names, or a shard
            without a split beside others.
    """
    splits: dict[str, list[str]] = {}
    sets, words = set(), []
    for path in paths:
        named = split_of(path)
        splits.setdefault(named.split, []).append(path)
        sets.add(named.of)
        words.append((named.split, named.word))
    if not splits:
        raise BadData(f"there are no {kind}")
    if POOL in splits and len(splits) > 1:
        raise split_error(splits[POOL][0])
    if len(sets) > 1:
        raise BadData(f"shards of several sets lie in {', '.join(sorted(sets))}; give the URL of one of them")
    check_words(words)
    check_train(set(splits) - {POOL})
    return splits


def check_unused(paths: Iterable[str], splits: Iterable[str]) -> None:
    """Raise `BadData` if an unread compressed or incomplete file holds a split that a study would cut from train.

    Args:
        paths: the files that no reader has used.
        splits: the splits that were found.
    """
    for path in paths:
        if path.lower().endswith(PACKED) and (split := split_of(path).split) in {"val", "test"} - set(splits):
            raise BadData(f"{path} names {split} and cannot be read: unpack it (or fetch it whole), or move it away")


def split_error(path: str) -> BadData:
    """The error for a file without a split beside files that have one."""
    return BadData(f"{path} belongs to no split while other files do ({', '.join(SPLIT_NAMES)})")


def link_error(path: str) -> BadData:
    """The error for a local link with which a dataset could read any file of the machine."""
    return BadData(f"{path} is a link out of its root; copy what it points to")


def check_train(splits: set[str]) -> None:
    """Raise `BadData` if a dataset has splits but no training split."""
    if splits and "train" not in splits:
        raise BadData(f"there is {' and '.join(sorted(splits))} but no train split")


def file_next_to(file: File, path: str) -> File:
    """The file at `path` relative to the folder of the list `file`. It may not exist; then reading it fails.

    Raises:
        BadData: the list is inside an archive, or a local link leads out of its folder.
    """
    if not isinstance(file, UrlFile):
        raise BadData("a list alone in an archive names no files of it")
    folder = file.url.removesuffix(file.url.rpartition("/")[2])
    found = UrlFile(url=folder + (quote(path) if is_web(folder) else path))
    if found.local_path and not _is_below(found.local_path, UrlFile(url=folder or ".").local_path):
        raise link_error(path)
    return found


def relative(found: str, root: str) -> str:
    """The path of the URL `found` relative to `root`. The two may spell protocol and host differently."""
    inner, outer = without_protocol(found), without_protocol(root)
    if inner == outer:
        return inner.rpartition("/")[2]
    for base in (outer, outer.partition("/")[2]):
        _, hit, below = f"/{inner}".partition(f"/{base}/" if base else "/")
        if hit:
            return below
    raise BadData(f"the listing of {root} names {found}, which is not below it")


def without_protocol(url: str) -> str:
    """A URL without its protocol, or an absolute path, to compare two places."""
    place = canonical(url)
    return (place if is_local(place) else place.partition("://")[2]).strip("/")


def _all_files(url: str) -> dict[str, File]:
    place = canonical(url)
    if place.startswith("zip://"):
        inner, _, archive = place.removeprefix("zip://").partition("::")
        return dict(members(_absolute(archive), inner))
    if place.lower().endswith(".zip"):
        return _without_top(members(_absolute(place)))
    if place.lower().endswith(SINGLE):
        return {place.rpartition("/")[2]: UrlFile(url=_absolute(place))}
    return {relative(found, place): UrlFile(url=found) for found in find_files(place)}


def _absolute(place: str) -> str:
    """The URL of a canonical place, which is valid in workers with another working directory too."""
    return f"file://{place}" if is_local(place) else place


def _without_top(paths: Mapping[str, File]) -> dict[str, File]:
    """Remove the only top folder of a zip, perhaps with a README beside it, unless it is named as a split."""
    folders = {path.partition("/")[0] for path in paths if "/" in path and exclusion_reason(path) is None}
    beside = [path for path in paths if "/" not in path and not (exclusion_reason(path) or is_document(path))]
    if len(folders) != 1 or beside or any(map(split_word, folders)):
        return dict(paths)
    (top,) = folders
    return {path.removeprefix(f"{top}/"): file for path, file in paths.items()}


def _empty_folders(url: str) -> list[str]:
    """The empty local folders below `url`, which a list of files does not show."""
    top = UrlFile(url=url).local_path if "::" not in url else None
    if top is None or not top.is_dir():
        return []
    empty = [os.path.relpath(place, top) for place, folders, files in os.walk(top) if not folders and not files]
    return sorted(path for path in empty if path != "." and exclusion_reason(f"{path}/file") is None)


def _check_names(files: Files) -> None:
    """Raise `BadData` for a name that is not UTF-8, because manifests and tickets could not hold it as a class."""
    odd = next((path for path in files if not path.isascii() and not _is_text(path)), None)
    if odd is not None:
        raise BadData(f"the name of {odd} is not UTF-8; rename it (convmv -f latin1 -t utf8 does so for whole folders)")


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_links(files: Files, root: str) -> None:
    """Raise `BadData` for a local symbolic link to a folder, to nothing, or out of `root`."""
    top = UrlFile(url=canonical(root)).local_path
    for path, file in files.items():
        place = file.local_path if isinstance(file, UrlFile) else None
        if place is None or not os.path.islink(place):
            continue
        if not _is_below(place, top):
            raise link_error(path)
        if not os.path.isfile(place):
            raise BadData(f"{path} is a link to a folder or to nothing")


def _is_below(place: Path, top: Path | None) -> bool:
    """Whether `place` is `top` or below it after all links are resolved."""
    return f"{os.path.realpath(place)}/".startswith(f"{os.path.realpath(top or '')}/")
