"""Artifacts under one root URL, and the only door to fsspec.

A stage commits its files under a key: payload first, then `DONE`, which lists every file's SHA-256 and size.
What carries a readable `DONE` whose digests hold exists; everything else is to be done again. `sweep` plans from this,
`trial` writes through it, `report` and `ticket` read it; `data` and `backbones` read users' URLs with `open_url`.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import fsspec
from fsspec.core import url_to_fs

DONE = "DONE"


class DamagedArtifactWarning(UserWarning):
    """A committed artifact no longer matches its digest; it counts as absent and is made again."""


def open_url(url: str, mode: str = "rb") -> IO[Any]:
    """Open any fsspec URL or local path; use as a context manager.

    Raises:
        OSError: the built-in errors (`FileNotFoundError`, `PermissionError`, ...).
    """
    opened: IO[Any] = fsspec.open(url, mode).open()
    return opened


def read_url(url: str) -> bytes:
    """The bytes at any fsspec URL or local path.

    Raises:
        OSError: they cannot be read; no other error, whatever the filesystem's own package raises. It names the URL.
    """
    try:
        with _faults_as_os_errors(), open_url(url) as file:
            return bytes(file.read())
    except OSError as error:  # object stores name a key, or nothing; Python makes the error's kind of its number
        if isinstance(error, FileNotFoundError):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), url) from error
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), url) from error


def write_url(url: str, payload: bytes) -> None:
    """Put `payload` at any fsspec URL or local path in one piece; what was there is replaced.

    Raises:
        OSError: it cannot be written.
    """
    with _faults_as_os_errors():
        filesystem, path = url_to_fs(url)
        _put(filesystem, path, payload)


def find_files(url: str) -> list[str]:
    """The sorted URLs of all files below `url`; itself if it is one file; empty if nothing is there."""
    filesystem, path = url_to_fs(url)
    return sorted(filesystem.unstrip_protocol(found) for found in filesystem.find(path))


class Store:
    """The artifacts of one study. `url` is absolute, so it means the same in every process."""

    def __init__(self, url: str) -> None:
        """Raises ValueError for an unknown protocol, ImportError when its filesystem package is not installed."""
        filesystem, root = url_to_fs(url)
        self.filesystem: Any = filesystem
        self._root: str = root.rstrip("/")
        self.url: str = self.filesystem.unstrip_protocol(self._root)

    def commit(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write `files` under `key`, then `DONE`: a kill leaves either all of it or nothing that counts."""
        assert DONE not in files
        for name, payload in files.items():
            self.write(f"{key}/{name}", payload)
        manifest = {name: {"sha256": _sha256(payload), "size": len(payload)} for name, payload in files.items()}
        self.write(f"{key}/{DONE}", json.dumps(manifest, sort_keys=True, indent=1).encode())

    def load(self, key: str, names: Iterable[str] | None = None) -> dict[str, bytes] | None:
        """The committed files of `key` (only `names`, if given), digests verified; None if absent or damaged."""
        marker = self.read(f"{key}/{DONE}")
        if marker is None:
            return None
        try:
            manifest: dict[str, dict[str, Any]] = json.loads(marker)
            wanted = list(manifest) if names is None else list(names)
            return {name: self._verified(f"{key}/{name}", manifest[name]["sha256"]) for name in wanted}
        except (ValueError, KeyError, TypeError) as damage:
            warnings.warn(f"{self.url}/{key} counts as absent: {damage}", DamagedArtifactWarning, stacklevel=2)
            return None

    def committed(self) -> frozenset[str]:
        """All keys that carry a `DONE`, from one listing."""
        tail = f"/{DONE}"
        return frozenset(path[: -len(tail)] for path in self.paths() if path.endswith(tail))

    def paths(self) -> list[str]:
        """Every file below the root, relative to it, as another process may just have left it."""
        self.filesystem.invalidate_cache()
        with _faults_as_os_errors():
            return [path[len(self._root) :].strip("/") for path in self.filesystem.find(self._root)]

    def sizes(self) -> dict[str, int]:
        """Bytes of every file below the root, by its path relative to it, from one listing."""
        self.filesystem.invalidate_cache()
        with _faults_as_os_errors():
            found = self.filesystem.find(self._root, detail=True)
        return {path[len(self._root) :].strip("/"): int(entry["size"] or 0) for path, entry in found.items()}

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None if there is no such file."""
        try:
            with _faults_as_os_errors():
                payload: bytes = self.filesystem.cat_file(self.path(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return payload

    def write(self, path: str, payload: bytes) -> None:
        """Put `payload` at `path` in one piece: a reader sees the old file or the new one, never a part."""
        _put(self.filesystem, self.path(path), payload)

    def remove(self, path: str) -> None:
        """Delete `path` and everything below it, if it is there. For scratch only."""
        target = self.path(path)
        if self.filesystem.exists(target):
            self.filesystem.rm(target, recursive=True)

    def path(self, path: str) -> str:
        """`path` below the root, as `filesystem` names it."""
        return f"{self._root}/{path}"

    @property
    def is_private(self) -> bool:
        """Whether the files are visible in this process only (`memory://`), so that no worker could write them."""
        return "memory" in _protocols(self.filesystem)

    def _verified(self, path: str, digest: str) -> bytes:
        payload = self.read(path)
        if payload is None:
            raise ValueError(f"{path} is missing")
        if _sha256(payload) != digest:
            raise ValueError(f"{path} does not match its digest")
        return payload


@contextmanager
def _faults_as_os_errors() -> Iterator[None]:
    """A filesystem package may raise its own kind (missing credentials, a dead endpoint); callers know `OSError`."""
    try:
        yield
    except OSError:
        raise
    except Exception as fault:
        raise OSError(f"{type(fault).__name__}: {fault}") from fault


def _put(filesystem: Any, target: str, payload: bytes) -> None:
    if not _is_local(filesystem):  # object stores and memory:// replace a whole object at once
        with _faults_as_os_errors():
            filesystem.pipe_file(target, payload)
        return
    filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
    part = f"{target}.{uuid.uuid4().hex}.part"
    filesystem.pipe_file(part, payload)
    os.replace(part, target)


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def _protocols(filesystem: Any) -> tuple[str, ...]:
    protocol = filesystem.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _is_local(filesystem: Any) -> bool:
    return "file" in _protocols(filesystem)
