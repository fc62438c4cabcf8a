"""The files below a dataset's URL by relative path, and the split that a path names. Every reader starts here.

A listing is one request per thousand files and no other: nothing is opened, and on object stores nothing is asked
about a single file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from lion_ray.data.files import File, UrlFile, is_web
from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL
from lion_ray.data.readers.account import Listing
from lion_ray.data.readers.archive import members
from lion_ray.data.readers.junk import PACKED, is_document, left_out
from lion_ray.data.readers.split_names import SPLIT_NAMES, check_words, split_of, split_word
from lion_ray.store import canonical, find_files, is_local

IMAGES = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
"""The ends of images' names, in lower case."""

SINGLE = (".parquet", ".tar", ".npz", ".csv")
"""A URL that ends so, in any case, is one file and is not listed: web servers cannot."""

Files = Mapping[str, File]
"""Relative path → file, sorted by path."""


def listing(url: str) -> Listing:
    """Every file below `url`, or `url` itself if it is one file, without hidden files and what systems leave behind.

    A folder whose name begins with a dot is one like any other. A zip counts as the folder that it holds.

    Raises:
        BadData: the URL cannot be read, nothing is there, or a link leads out of the root.
    """
    try:
        paths = _all_files(url)
    except BadData:
        raise
    except Exception as error:
        raise BadData(f"{url} cannot be read ({type(error).__name__}: {error})") from error
    reasons = {path: left_out(path) for path in sorted(paths)}
    files = {path: paths[path] for path, reason in reasons.items() if reason is None}
    _check_names(files)
    _check_links(files, url)
    if not files:
        raise BadData(f"{url} holds no files")
    unseen: dict[str, list[str]] = {}
    for path, reason in reasons.items():
        if reason is not None:
            unseen.setdefault(reason, []).append(path)
    return Listing(files, unseen, _empty_folders(url))


def by_split(paths: Iterable[str], kind: str) -> dict[str, list[str]]:
    """The paths of shards for each split that they name; the only key is `pool` when no path names one.

    Raises:
        BadData: none, several sets, splits without train, a split under two names, or a shard of no split beside
            others. `kind` is for messages.
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
    """Raise `BadData` when a split that a study would cut from train lies here in a file that is packed or not whole.

    Args:
        paths: the files that no reader has used.
        splits: those that were found.
    """
    for path in paths:
        if path.lower().endswith(PACKED) and (split := split_of(path).split) in {"val", "test"} - set(splits):
            raise BadData(f"{path} names {split} and cannot be read: unpack it (or fetch it whole), or move it away")


def split_error(path: str) -> BadData:
    """For a file that belongs to no split beside files that do."""
    return BadData(f"{path} belongs to no split while other files do ({', '.join(SPLIT_NAMES)})")


def link_error(path: str) -> BadData:
    """For a local link that would let a set read any file of the machine."""
    return BadData(f"{path} is a link out of its root; copy what it points to")


def check_train(splits: set[str]) -> None:
    """Raise `BadData` when a set has splits but none to train on."""
    if splits and "train" not in splits:
        raise BadData(f"there is {' and '.join(sorted(splits))} but no train split")


def beside(file: File, path: str) -> File:
    """The file at `path` from where a list at a URL of its own lies. Whether it is there, reading will tell.

    Raises:
        BadData: the list lies in an archive, or a local link leads out of its folder.
    """
    if not isinstance(file, UrlFile):
        raise BadData("a list alone in an archive names no files of it")
    folder = file.url.removesuffix(file.url.rpartition("/")[2])
    found = UrlFile(url=folder + (quote(path) if is_web(folder) else path))
    if found.local_path and not _is_below(found.local_path, UrlFile(url=folder or ".").local_path):
        raise link_error(path)
    return found


def relative(found: str, root: str) -> str:
    """`found` below `root`; the two may differ in how they spell protocol and host."""
    inner, outer = bare(found), bare(root)
    if inner == outer:
        return inner.rpartition("/")[2]
    for base in (outer, outer.partition("/")[2]):
        _, hit, below = f"/{inner}".partition(f"/{base}/" if base else "/")
        if hit:
            return below
    raise BadData(f"the listing of {root} names {found}, which is not below it")


def bare(url: str) -> str:
    """A URL without its protocol, or the absolute path, to tell whether one lies below the other."""
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
    """The URL of a canonical place; it means the same in a worker, whose working directory is another."""
    return f"file://{place}" if is_local(place) else place


def _without_top(paths: Mapping[str, File]) -> dict[str, File]:
    """Many a zip holds one folder of its own name, perhaps a README beside it; a split's folder is none of these."""
    folders = {path.partition("/")[0] for path in paths if "/" in path and left_out(path) is None}
    beside = [path for path in paths if "/" not in path and not (left_out(path) or is_document(path))]
    if len(folders) != 1 or beside or any(map(split_word, folders)):
        return dict(paths)
    (top,) = folders
    return {path.removeprefix(f"{top}/"): file for path, file in paths.items()}


def _empty_folders(url: str) -> list[str]:
    """The local folders below `url` with nothing in them, which no list of files shows."""
    top = UrlFile(url=url).local_path if "::" not in url else None
    if top is None or not top.is_dir():
        return []
    empty = [os.path.relpath(place, top) for place, folders, files in os.walk(top) if not folders and not files]
    return sorted(path for path in empty if path != "." and left_out(f"{path}/file") is None)


def _check_names(files: Files) -> None:
    """Raise `BadData` at a name that is no text: neither a manifest nor a ticket could hold it as a class."""
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
    """Raise `BadData` at a local symbolic link to a folder, to nothing, or out of `root`."""
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
    """Whether `place` is `top` or below it once every link is followed."""
    return f"{os.path.realpath(place)}/".startswith(f"{os.path.realpath(top or '')}/")
