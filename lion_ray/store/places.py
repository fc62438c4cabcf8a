"""Places as people spell them: a path or an fsspec URL, made canonical in one function that every door goes through.

`urls.filesystem_of` asks for `canonical`, so storage, datasets, weights, targets and images are spelled alike. What
looks like a URL and is none is refused: otherwise it would be a local folder of that very name.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches

import fsspec

from lion_ray.store.variables import with_variables

SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
ALMOST = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)", re.DOTALL)
ALSO = {"abfss": "abfs"}  # what `adlfs` reads beyond the names that fsspec has for it
LOCAL = ("file", "local")
WRAPPERS = {"zip", "tar", "libarchive", "dir", "reference", "simplecache", "filecache", "blockcache", "cached"}
FAMILIES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az", "local": "file", "ssh": "sftp"}
ACCOUNT = re.compile(r"(?P<container>[^/@:]+)@(?P<host>[^/]+)(?P<path>/.*|$)", re.DOTALL)


class PlaceError(ValueError):
    """No place is spelled so; one line says why."""


def canonical(place: str) -> str:
    """`place` as a URL with a scheme in small letters, or as an absolute local path without `~`, `..` and variables.

    What exists by the very name given is meant, whatever the name looks like. In a URL nothing is expanded: a listing
    may have named it.

    Raises:
        PlaceError: an unknown scheme, a variable that is not set, or what looks like a URL and is none.
    """
    if not SCHEME.match(place) and os.path.lexists(place):
        return _absolute(place)
    head, separator, outer = place.partition("::")
    if separator and _scheme(head) in WRAPPERS:
        return f"{_scheme(head)}{head[len(_scheme(head)) :]}::{canonical(outer)}"
    found = SCHEME.match(place)
    if found is None:
        return _absolute(_local(_with_variables(place)))
    scheme, rest = _known(found["scheme"], place), place[found.end() :]
    return _absolute(rest) if scheme in LOCAL else f"{scheme}://{rest}"


def is_chain(place: str) -> bool:
    """Whether a canonical place lies inside another, such as `zip://INNER::URL`."""
    head, separator, _ = place.partition("::")
    return bool(separator) and _scheme(head) in WRAPPERS


def is_local(place: str) -> bool:
    """Whether a canonical place lies on this machine."""
    return place.startswith("/")


def _scheme(head: str) -> str:
    """Of the first part of a chain, which may be no more than that."""
    return head.partition("://")[0].lower()


def identity(place: str) -> str:
    """The same text for every spelling of one place: links followed, schemes of one service alike, no login.

    Raises:
        PlaceError: see `canonical`.
    """
    told = canonical(place)
    found = SCHEME.match(told)
    if found is None:
        return os.path.realpath(told)
    scheme = FAMILIES.get(found["scheme"], found["scheme"])
    rest = told[found.end() :].rstrip("/")
    account = ACCOUNT.match(rest) if scheme == "az" else None
    return f"{scheme}://{account['container']}{account['path']}" if account else f"{scheme}://{rest}"


def with_account(path: str, place: str, unstripped: str) -> str:
    """The URL of `path` on the filesystem of `place`; an Azure account that `place` names is named again.

    Args:
        unstripped: what the filesystem makes of `path`.
    """
    found = SCHEME.match(place)
    account = ACCOUNT.match(place[found.end() :]) if found and FAMILIES.get(found["scheme"]) == "az" else None
    if found is None or account is None:
        return unstripped
    inner = path.strip("/").removeprefix(account["container"]).lstrip("/")
    return f"{found['scheme']}://{account['container']}@{account['host']}/{inner}"


def _with_variables(place: str) -> str:
    try:
        return with_variables(place)
    except ValueError as error:
        raise PlaceError(str(error)) from None


def _local(place: str) -> str:
    """A local path, unless it is meant as something else."""
    found = ALMOST.match(place)
    scheme, rest = (found["scheme"].lower(), found["rest"]) if found else ("", "")
    if len(scheme) == 1 or place.startswith("\\\\"):
        raise PlaceError(f"'{place}' is a path of Windows, and this is not Windows")
    if scheme in LOCAL and rest.startswith("/"):
        return rest
    if found and (rest.startswith("/") or scheme in {*_schemes(), *ALSO}):
        raise PlaceError(f"'{place}' is no URL: write {scheme}://{rest.lstrip('/')}")
    expanded = os.path.expanduser(place)
    if place.startswith("~") and expanded == place:
        raise PlaceError(f"there is no home folder of {place.partition('/')[0]}, in '{place}'")
    return expanded


def _known(scheme: str, place: str) -> str:
    small = scheme.lower()
    if small in ALSO and small not in _schemes():
        return ALSO[small]
    if small not in _schemes():
        near = get_close_matches(small, _schemes(), n=1)
        hint = f"did you mean {near[0]}://?" if near else "known are s3://, gs://, az://, https://, hf:// and others"
        raise PlaceError(f"no filesystem is called {scheme}://, in '{place}'; {hint}")
    return small


def _schemes() -> set[str]:
    return set(fsspec.available_protocols())


def _absolute(path: str) -> str:
    """Absolute, in its shortest spelling; behind a link `..` is the folder above what the link names."""
    whole = os.path.expanduser(path) if path.startswith("~") and not os.path.lexists(path) else path
    return os.path.realpath(whole) if ".." in whole.split("/") else os.path.abspath(whole)
