"""The files below a dataset's URL by relative path, and the split that a path names.

The two readers of URLs, `parquet` and `folder`, and the choice between them in `source` start here.
"""

from __future__ import annotations

import os

from lion_ray.data.item import BadData
from lion_ray.store import find_files

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""A file or folder of this name holds this split."""

Files = dict[str, str]
"""Relative path → URL, sorted by path."""


def listing(url: str) -> Files:
    """Every file below `url`, or `url` itself if it is one file, without hidden files and folders.

    Raises:
        BadData: the URL cannot be read, or nothing is there.
    """
    try:
        found = [url] if url.endswith(".parquet") else find_files(url)
    except Exception as error:
        raise BadData(f"{url} cannot be read ({type(error).__name__}: {error})") from error
    paths = {relative(one, url): one for one in found}
    files = {path: paths[path] for path in sorted(paths) if not any(part.startswith(".") for part in path.split("/"))}
    if not files:
        raise BadData(f"{url} holds no files")
    return files


def split_error(path: str) -> BadData:
    """For a file that belongs to no split beside files that do."""
    return BadData(f"{path} belongs to no split while other files do ({', '.join(SPLIT_NAMES)})")


def check_train(splits: set[str]) -> None:
    """Raise `BadData` when a set has splits but none to train on."""
    if splits and "train" not in splits:
        raise BadData(f"there is {' and '.join(sorted(splits))} but no train split")


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
