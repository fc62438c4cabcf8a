"""Masking of credentials in URLs.

A URL's login lies between `://` and the last `@` before the first slash. An `@` in a path does not end a login. The
container before an Azure account, the user of an SSH host and the revision after a repository's name are no logins.
`lion_ray.console`, `lion_ray.report` and every error message that quotes a URL call `redacted`.
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
NEVER = PATHS | CACHES  # these schemes have no login; an `@` is part of the path
NAMES = AZURE | ORACLE | USERS  # the text before `@` is a name; only the text after a colon is secret
PORT = re.compile(r"[^:/]*:\d{1,5}(?:[/?#]|$)")


def redacted(text: object) -> str:
    """`text` with `***` in the place of the credentials in its URLs."""
    masked = str(text)
    for start, end in reversed(list(_spans(masked))):
        masked = f"{masked[:start]}***{masked[end:]}"
    return QUERY.sub(r"\1***", masked)


def has_credentials(url: str) -> bool:
    """Whether `url` holds credentials."""
    return redacted(url) != url


def logins(text: str) -> list[str]:
    """The logins (the text before `@`) of the URLs in `text`."""
    return [text[start:end] for start, end in _spans(text)]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each login in `text`; the end is the position of its `@`."""
    at = 0
    while match := URL.search(text, at):
        start = match.start("rest")
        length = _login_length(match["scheme"].lower(), match["rest"])
        if length:
            yield start, start + length
        at = start + length  # a chained URL may follow


def _login_length(scheme: str, rest: str) -> int:
    """The length of the login at the start of `rest`, the text after `://`; 0 if there is no login."""
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
