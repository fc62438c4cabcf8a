"""Credentials in URLs: where they stand, and text without them.

A URL's login lies between `://` and the `@` that ends it, in front of the first slash. An `@` in a path is none, nor is
the container in front of an Azure account, the user of an SSH host or the revision behind a repository's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SECRET_NAMES = "token|secret|signature|sig|password|passwd|credential|accesskeyid|access_key|apikey|api_key|key"
URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<rest>[^\s'\"]*)", re.IGNORECASE)
QUERY = re.compile(rf"([?&;][^=&\s'\"]*(?:{SECRET_NAMES})=)[^&\s'\"]+", re.IGNORECASE)
PATHS = {"file", "local", "memory", "zip", "tar", "libarchive", "dir", "reference", "github", "git", "hf"}
CACHES = {"simplecache", "filecache", "blockcache", "cached"}
AZURE, ORACLE = {"az", "abfs", "abfss", "adl", "wasb", "wasbs"}, {"oci", "ocilake"}
USERS = {"ssh", "sftp", "ftp", "ftps", "smb", "hdfs", "webhdfs"}
NEVER = PATHS | CACHES  # has an `@` in a path at most
NAMES = AZURE | ORACLE | USERS  # what stands in front of `@` is a name, and only behind a colon a secret
PORT = re.compile(r"[^:/]*:\d{1,5}(?:[/?#]|$)")


def redacted(text: object) -> str:
    """`text` without the credentials that its URLs hold."""
    told = str(text)
    for start, end in reversed(list(_spans(told))):
        told = f"{told[:start]}***{told[end:]}"
    return QUERY.sub(r"\1***", told)


def has_credentials(url: str) -> bool:
    """Whether `url` holds a secret."""
    return redacted(url) != url


def logins(text: str) -> list[str]:
    """What stands in front of `@` in the URLs of `text`."""
    return [text[start:end] for start, end in _spans(text)]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the logins stand; they end in front of their `@`."""
    at = 0
    while found := URL.search(text, at):
        start = found.start("rest")
        length = _length(found["scheme"].lower(), found["rest"])
        if length:
            yield start, start + length
        at = start + length  # a chained URL may follow


def _length(scheme: str, rest: str) -> int:
    """How much of what follows `://` is a login; 0 if nothing is."""
    rest = rest.partition("::")[0]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme in NEVER or "@" not in rest:
        return 0
    if "@" in authority:
        length = authority.rindex("@")
        return 0 if scheme in NAMES and ":" not in authority[:length] else length
    is_place = not authority or authority[0] == "[" or ":" not in authority or PORT.match(rest)
    if is_place or authority.startswith("arn:"):  # the `@` belongs to the path
        return 0
    return rest.index("@")  # a secret key may hold a slash
