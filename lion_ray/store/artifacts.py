"""`Store`: the artifacts of one study under one URL, and plain files beside them.

`lion_ray.trial` commits rounds, `lion_ray.data.build` commits datasets, and `lion_ray.study` and `lion_ray.report` read
them. An artifact without a valid `DONE` marker counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from lion_ray.store.filesystems import as_url, filesystem_of, is_marker
from lion_ray.store.layout import DONE
from lion_ray.store.patience import OnOutage, Patience, has_answered, print_outage, retry
from lion_ray.store.redaction import has_credentials
from lion_ray.store.remote_file import protocols
from lion_ray.store.urls import ListedFile, as_listed_file, read_file, write_file

NUM_READERS = 32  # an object store answers this many small requests in parallel
Value = TypeVar("Value")
Result = TypeVar("Result")


class DamagedArtifactWarning(UserWarning):
    """A committed artifact does not match its digests. It counts as absent, and its work is done again."""


class Store:
    """The artifacts of one study. `url` is absolute, so it means the same place in every process.

    A store can be pickled; credentials are not pickled with it.
    """

    def __init__(self, url: str, *, patience: Patience | None = None, on_outage: OnOutage = print_outage) -> None:
        """Open the store at `url`; nothing is read or written yet.

        Args:
            url: a local path or an fsspec URL.
            patience: how long a failing operation is retried; None stands for the defaults.
            on_outage: called with an `Outage` while the storage does not answer.

        Raises:
            ValueError: the protocol is unknown, or the URL holds credentials.
            ImportError: the package of the URL's filesystem is not installed.
        """
        if has_credentials(url):
            raise ValueError("it holds credentials; give them to every node by its environment, role or secret instead")
        self._patience, self._on_outage = patience or Patience(), on_outage
        self.filesystem, root = filesystem_of(url)
        self._root: str = root.rstrip("/")
        self.url: str = as_url(self.filesystem, self._root, url)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the URL only: no credentials are sent, and each process opens its own connections."""
        return _restored, (self.url, self._patience, self._on_outage)

    def reporting_outages_to(self, on_outage: OnOutage) -> Store:
        """The same store with another callback for outages."""
        return Store(self.url, patience=self._patience, on_outage=on_outage)

    def commit(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write `files` (name to bytes) under `key` in parallel, then the marker `DONE`.

        A process that is killed before the marker is written leaves an artifact that counts as absent.
        """
        assert DONE not in files
        map_in_threads(lambda name: self.write(f"{key}/{name}", files[name]), files)
        manifest = {name: {"sha256": digest(payload), "size": len(payload)} for name, payload in files.items()}
        self.write(f"{key}/{DONE}", json.dumps(manifest, sort_keys=True, indent=1).encode())

    def load(self, key: str, names: Iterable[str] | None = None) -> dict[str, bytes] | None:
        """Read the artifact at `key` and verify its digests.

        Args:
            key: the artifact's key.
            names: the files to read; None reads all of them.

        Returns:
            The bytes of each file by its name; None if the artifact is absent or, with a warning, damaged.
        """
        marker = self.read(f"{key}/{DONE}")
        if marker is None:
            return None
        try:
            manifest: dict[str, dict[str, Any]] = json.loads(marker)
            if not manifest or not isinstance(manifest, dict):
                raise ValueError(f"its {DONE} lists no files")
            wanted = list(manifest) if names is None else list(names)
            return {name: self._verified(f"{key}/{name}", manifest[name]) for name in wanted}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as damage:
            warnings.warn(f"{self.url}/{key} counts as absent: {damage}", DamagedArtifactWarning, stacklevel=2)
            return None

    def committed(self) -> frozenset[str]:
        """The keys of all artifacts that have a `DONE` marker, from one listing. Digests are not checked."""
        tail = f"/{DONE}"
        return frozenset(path[: -len(tail)] for path in self.listing() if path.endswith(tail))

    def listing(self, folder: str = "") -> dict[str, ListedFile]:
        """Size and stamp of every file below `folder`, by its path relative to the root.

        Cached listings are dropped first, so files that other processes have just written are listed too.
        """
        self.filesystem.invalidate_cache()
        where = f"{self._root}/{folder}".rstrip("/")
        found = self._retry(lambda: self.filesystem.find(where, detail=True), folder)
        files = ((path, entry) for path, entry in found.items() if not is_marker(path))
        entries = ((path[len(self._root) :].strip("/"), entry) for path, entry in files)
        return {path: as_listed_file(entry) for path, entry in entries}

    def paths(self) -> list[str]:
        """The paths of all files below the root, relative to it."""
        return list(self.listing())

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None if there is no such file."""
        try:
            return self._retry(lambda: read_file(self.filesystem, self.path(path)), path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, payload: bytes) -> None:
        """Write `payload` to `path` atomically: a reader sees the old file or the new one, never a part."""
        self._retry(lambda: write_file(self.filesystem, self.path(path), payload), path)

    def remove(self, path: str) -> None:
        """Delete the file at `path`, or everything below it. A missing file is no error."""
        try:
            self._retry(lambda: self.filesystem.rm(self.path(path), recursive=True), path)
        except FileNotFoundError:
            return

    def remove_files(self, paths: Iterable[str]) -> None:
        """Delete many files, in bulk requests where the storage has them. A missing file is no error."""
        listed = [self.path(path) for path in paths]
        with suppress(FileNotFoundError):
            if listed:
                self._retry(lambda: self.filesystem.rm(listed), "")

    def path(self, path: str) -> str:
        """The full path of `path`, which is relative to the root, as `filesystem` spells it."""
        return f"{self._root}/{path}"

    @property
    def is_private(self) -> bool:
        """Whether only this process sees the files (`memory://`), so that a worker process cannot write them."""
        return "memory" in protocols(self.filesystem)

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a local folder. Other machines see them only if they mount the same folder."""
        return "file" in protocols(self.filesystem)

    def _retry(self, act: Callable[[], Value], path: str) -> Value:
        where = f"{self.url}/{path}".rstrip("/")
        return retry(act, where, patience=self._patience, on_outage=self._on_outage)

    def _verified(self, path: str, expected: Mapping[str, Any]) -> bytes:
        payload = self.read(path)
        if payload is None:
            raise ValueError(f"{path} is missing")
        if digest(payload) != expected["sha256"] or len(payload) != expected["size"]:
            raise ValueError(f"{path} does not match its digest")
        return payload


def map_in_threads(act: Callable[[Value], Result], values: Iterable[Value]) -> list[Result]:
    """Apply `act` to each value in up to `NUM_READERS` threads. Results keep the order of the values.

    An object store answers many small requests at once, so threads save most of the waiting.
    """
    listed = list(values)
    if len(listed) < 2:
        return [act(value) for value in listed]
    with ThreadPoolExecutor(min(NUM_READERS, len(listed))) as threads:
        return list(threads.map(act, listed))


def digest(payload: bytes) -> str:
    """The SHA-256 of `payload` in hexadecimal."""
    return hashlib.sha256(payload).hexdigest()


def _restored(url: str, patience: Patience, on_outage: OnOutage) -> Store:
    has_answered(url)  # the process that pickled the store has reached it
    return Store(url, patience=patience, on_outage=on_outage)
