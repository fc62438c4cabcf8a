"""A cache of dataset fingerprints on this machine, so that planning a study does not read every image again.

`source.Source.fingerprint` calls `cached_fingerprint`. The key covers the listing (path, size and ETag or time of every
file) and how the dataset is read. Nothing is cached if the listing has no stamps, or if a stamp is so recent that a
later write could carry the same one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lion_ray.data.files import is_web
from lion_ray.data.fingerprint import Fingerprint
from lion_ray.store import ListedFile, Store, write_url
from lion_ray.store.local import home_for_now

FORMAT = "3"
SETTLED_SECONDS = 2.0  # writes this far apart have different times on every file system; most need milliseconds


def cached_fingerprint(url: str, reading: Mapping[str, Any], make: Callable[[], Fingerprint]) -> Fingerprint:
    """The fingerprint of the dataset at `url`, from the cache if its listing has not changed.

    Args:
        url: where the dataset lies.
        reading: the options with which it is read, as JSON values; part of the cache's key.
        make: computes the fingerprint by reading every image.
    """
    key = _key(url, reading)
    known = key and _recall(key)
    if known:
        return known
    fingerprint = make()
    if key and _key(url, reading) == key:  # no file was written during the reading
        with suppress(OSError):  # without a writable folder the images are read again next time
            payload = json.dumps([fingerprint.digest, fingerprint.encoding, fingerprint.repeated]).encode()
            write_url(str(_folder() / key), payload)
    return fingerprint


def _key(url: str, reading: Mapping[str, Any]) -> str | None:
    """The cache key; None if the listing cannot show whether a file was changed."""
    # There is no listing, the listing of a cached copy, or a listing without the files that the list names.
    if is_web(url) or "::" in url or url.endswith(".csv"):
        return None
    try:
        files = Store(url).listing()
    except (OSError, ValueError, NotImplementedError):
        return None
    if not files or not all(map(_is_settled, files.values())):
        return None
    return hashlib.sha256(json.dumps([FORMAT, url, reading, sorted(files.items())]).encode()).hexdigest()


def _is_settled(file: ListedFile) -> bool:
    try:
        return float(file.stamp) < time.time() - SETTLED_SECONDS
    except ValueError:
        return bool(file.stamp)  # an ETag, or an object store's time


def _recall(key: str) -> Fingerprint | None:
    try:
        digest, encoding, repeated = json.loads((_folder() / key).read_text())
        known = None if repeated is None else tuple(map(str, repeated))
        return Fingerprint(digest=str(digest), encoding=str(encoding), repeated=known)
    except (OSError, ValueError, TypeError):
        return None


def _folder() -> Path:
    return Path(os.environ.get("LION_RAY_CACHE") or _home() / ".cache" / "lion-ray") / "digests"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a user without HOME and without an entry in /etc/passwd
        return home_for_now()
