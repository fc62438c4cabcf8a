"""Canonical spelling of places. A place is a local path or an fsspec URL, as a user writes it.

`lion_ray.store.filesystems.filesystem_of` calls `canonical`, so storage, datasets, weights and images follow the same
rules. Text that looks like a misspelled URL is refused; otherwise it would be taken as the name of a local folder.
"""

from __future__ import annotations

import os
import re
from difflib import get_close_matches

import fsspec

from lion_ray.store.variables import with_variables

SCHEME = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://")
ALMOST = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):(?P<rest>.*)", re.DOTALL)
ALSO = {"abfss": "abfs"}  # `adlfs` reads it, but fsspec does not register it
LOCAL = ("file", "local")
WRAPPERS = {"zip", "tar", "libarchive", "dir", "reference", "simplecache", "filecache", "blockcache", "cached"}
FAMILIES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az", "local": "file", "ssh": "sftp"}
ACCOUNT = re.compile(r"(?P<container>[^/@:]+)@(?P<host>[^/]+)(?P<path>/.*|$)", re.DOTALL)


class PlaceError(ValueError):
    """The text is no valid place. The message is one line that says why."""


def canonical(place: str) -> str:
    """`place` as a URL with a lower-case scheme, or as an absolute local path without `~`, `..` and variables.

    Text that is the literal name of an existing file or folder means that file or folder. Nothing is expanded in a
    URL, because the URL may come from a listing.

    Raises:
        PlaceError: the scheme is unknown, a variable is not set, or the text looks like a URL and is not one.
    """
    if not SCHEME.match(place) and os.path.lexists(place):
        return _absolute(place)
    head, separator, outer = place.partition("::")
    if separator and _scheme(head) in WRAPPERS:
        return f"{_scheme(head)}{head[len(_scheme(head)) :]}::{canonical(outer)}"
    match = SCHEME.match(place)
    if match is None:
        return _absolute(_local(_with_variables(place)))
    scheme, rest = _known(match["scheme"], place), place[match.end() :]
    return _absolute(rest) if scheme in LOCAL else f"{scheme}://{rest}"


def is_chain(place: str) -> bool:
    """Whether a canonical place is a chained URL, such as `zip://INNER::URL`."""
    head, separator, _ = place.partition("::")
    return bool(separator) and _scheme(head) in WRAPPERS


def is_local(place: str) -> bool:
    """Whether a canonical place is a local path."""
    return place.startswith("/")


def _scheme(head: str) -> str:
    """The scheme of the first part of a chained URL. That part may be the scheme alone."""
    return head.partition("://")[0].lower()


def identity(place: str) -> str:
    """One text for all spellings of a place.

    Links are followed, the aliases of a scheme are unified, and an Azure account is left out.

    Raises:
        PlaceError: see `canonical`.
    """
    url = canonical(place)
    match = SCHEME.match(url)
    if match is None:
        return os.path.realpath(url)
    scheme = FAMILIES.get(match["scheme"], match["scheme"])
    rest = url[match.end() :].rstrip("/")
    account = ACCOUNT.match(rest) if scheme == "az" else None
    return f"{scheme}://{account['container']}{account['path']}" if account else f"{scheme}://{rest}"


def with_account(path: str, place: str, unstripped: str) -> str:
    """The URL of a listed file, with the Azure account that the listed place names.

    fsspec leaves the account out of the URLs that it builds.

    Args:
        path: the file's path as the filesystem spells it.
        place: the canonical place that was listed.
        unstripped: the URL that the filesystem builds from `path`.
    """
    match = SCHEME.match(place)
    account = ACCOUNT.match(place[match.end() :]) if match and FAMILIES.get(match["scheme"]) == "az" else None
    if match is None or account is None:
        return unstripped
    inner = path.strip("/").removeprefix(account["container"]).lstrip("/")
    return f"{match['scheme']}://{account['container']}@{account['host']}/{inner}"


def _with_variables(place: str) -> str:
    try:
        return with_variables(place)
    except ValueError as error:
        raise PlaceError(str(error)) from None


def _local(place: str) -> str:
    """The local path that `place` means. Raises PlaceError if it looks like a URL or a Windows path."""
    match = ALMOST.match(place)
    scheme, rest = (match["scheme"].lower(), match["rest"]) if match else ("", "")
    if len(scheme) == 1 or place.startswith("\\\\"):
        raise PlaceError(f"'{place}' is a path of Windows, and this is not Windows")
    if scheme in LOCAL and rest.startswith("/"):
        return rest
    if match and (rest.startswith("/") or scheme in {*_schemes(), *ALSO}):
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
    """The absolute, normalised path. `..` after a link means the parent of the link's target."""
    whole = os.path.expanduser(path) if path.startswith("~") and not os.path.lexists(path) else path
    return os.path.realpath(whole) if ".." in whole.split("/") else os.path.abspath(whole)
