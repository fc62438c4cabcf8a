"""Fingerprints of sets at URLs, remembered on this machine, so that a plan does not read every image each time.

`source` asks `remembered`. What is remembered hangs on the listing: every file's path, size and etag or time, and on
how the set is read. A listing without stamps, or with one so young that a second write could bear it too, remembers
nothing.
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
SETTLED_SECONDS = 2.0  # file systems give writes this far apart different times; most need only milliseconds


def remembered(url: str, reading: Mapping[str, Any], make: Callable[[], Fingerprint]) -> Fingerprint:
    """`make()`, which reads every image, or what it has given for the same listing of `url` before.

    `reading` says how the set is read.
    """
    key = _key(url, reading)
    known = key and _recall(key)
    if known:
        return known
    made = make()
    if key and _key(url, reading) == key:  # nothing was written while it was read
        with suppress(OSError):  # a machine without a place for it reads again
            write_url(str(_folder() / key), json.dumps([made.digest, made.encoding, made.repeated]).encode())
    return made


def _key(url: str, reading: Mapping[str, Any]) -> str | None:
    """What names the memory; None if the listing cannot tell whether something was written."""
    if is_web(url) or "::" in url or url.endswith(".csv"):  # lists nothing, a copy's origin, or not what it names
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
        return bool(file.stamp)  # an etag, or an object store's time


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
