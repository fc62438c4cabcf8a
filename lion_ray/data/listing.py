"""The files below a dataset's URL by relative path, and the split that a path names. Every reader starts here.

A listing is one request per thousand files and no other: nothing is opened, and on object stores nothing is asked
about a single file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from lion_ray.data.archive import members
from lion_ray.data.files import File, UrlFile
from lion_ray.data.item import BadData
from lion_ray.data.pool import POOL
from lion_ray.store import find_files

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""A file or folder of this name holds this split."""

SINGLE = (".parquet", ".tar", ".npz", ".csv")
"""A URL that ends so is one file and is not listed: web servers cannot."""

Files = Mapping[str, File]
"""Relative path → file, sorted by path."""


def listing(url: str) -> Files:
    """Every file below `url`, or `url` itself if it is one file, without hidden files and folders.

    A zip counts as the folder that it holds; a CSV list on a store that can list, as its folder without other lists.

    Raises:
        BadData: the URL cannot be read, nothing is there, or a link leads out of the root.
    """
    try:
        paths = _all_files(url)
    except BadData:
        raise
    except Exception as error:
        raise BadData(f"{url} cannot be read ({type(error).__name__}: {error})") from error
    files = {path: paths[path] for path in sorted(paths) if not any(part.startswith(".") for part in path.split("/"))}
    if not files:
        raise BadData(f"{url} holds no files")
    return files


def by_split(paths: Iterable[str], kind: str) -> dict[str, list[str]]:
    """The paths of shards for each split that they name; the only key is `pool` when no path names one.

    Raises:
        BadData: none, several sets, splits without train, or a shard of no split beside others. `kind` is for messages.
    """
    splits: dict[str, list[str]] = {}
    sets = set()
    for path in paths:
        split, folder = split_of(path)
        splits.setdefault(split, []).append(path)
        sets.add(folder)
    if not splits:
        raise BadData(f"there are no {kind}")
    if POOL in splits and len(splits) > 1:
        raise split_error(splits[POOL][0])
    if len(sets) > 1:
        raise BadData(f"shards of several sets lie in {', '.join(sorted(sets))}; give the URL of one of them")
    check_train(set(splits) - {POOL})
    return splits


def split_of(path: str) -> tuple[str, str]:
    """The split that `path` names (`train-0.tar`, `data/val/0.tar`, `partial-train/0.tar`) and the folder above."""
    parts = path.split("/")
    for depth, part in enumerate(parts):
        word = part.removeprefix("partial-").replace("_", "-").partition("-")[0].partition(".")[0]
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word], "/".join(parts[:depth]) or "."
    return POOL, "/".join(parts[:-1]) or "."


def split_error(path: str) -> BadData:
    """For a file that belongs to no split beside files that do."""
    return BadData(f"{path} belongs to no split while other files do ({', '.join(SPLIT_NAMES)})")


def check_train(splits: set[str]) -> None:
    """Raise `BadData` when a set has splits but none to train on."""
    if splits and "train" not in splits:
        raise BadData(f"there is {' and '.join(sorted(splits))} but no train split")


def beside(file: File, path: str) -> File | None:
    """The file at `path` from where a list on a web server lies, as such servers do not list; None elsewhere."""
    if isinstance(file, UrlFile) and is_web(file.url):
        return UrlFile(url=f"{file.url.rpartition('/')[0]}/{quote(path)}")
    return None


def is_web(url: str) -> bool:
    """Whether a web server has it."""
    return url.startswith(("http://", "https://"))


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
    """A URL without its protocol, or the absolute path, to tell whether two name the same file."""
    protocol, mark, path = url.partition("://")
    if not mark or protocol in ("file", "local"):
        path = os.path.abspath(os.path.expanduser(path if mark else url))
    return path.strip("/")


def _all_files(url: str) -> dict[str, File]:
    if url.startswith("zip://"):
        inner, _, archive = url.removeprefix("zip://").partition("::")
        return dict(members(archive, inner))
    if url.endswith(".zip"):
        return _without_top(members(url))
    if url.endswith(".csv") and not is_web(url):
        folder, _, name = url.rpartition("/")
        return {path: file for path, file in _found(folder or ".").items() if path == name or not _is_list(path)}
    if url.endswith(SINGLE):
        return {url.rpartition("/")[2]: UrlFile(url=url)}
    return _found(url)


def _found(root: str) -> dict[str, File]:
    paths = {relative(found, root): UrlFile(url=found) for found in find_files(root)}
    if UrlFile(url=root).local_path:
        _check_links(paths, root)
    return dict(paths)


def _is_list(path: str) -> bool:
    return "/" not in path and path.endswith(".csv")


def _without_top(paths: Mapping[str, File]) -> dict[str, File]:
    """Many a zip holds one folder of its own name; a split's folder is none of these."""
    tops = {path.partition("/")[0] for path in paths}
    if len(tops) == 1 and not tops & {*SPLIT_NAMES, *paths}:
        return {path.partition("/")[2]: file for path, file in paths.items()}
    return dict(paths)


def _check_links(paths: Mapping[str, UrlFile], root: str) -> None:
    """Raise `BadData` at a symbolic link to a folder, to nothing, or out of `root`."""
    top = os.path.realpath(os.path.expanduser(root.rpartition("://")[2]))
    for path, file in paths.items():
        place = str(file.local_path)
        if not os.path.islink(place):
            continue
        target = os.path.realpath(place)
        if not f"{target}/".startswith(f"{top}/"):
            raise BadData(f"{path} is a link out of its root; copy what it points to")
        if not os.path.isfile(target):
            raise BadData(f"{path} is a link to a folder or to nothing")
