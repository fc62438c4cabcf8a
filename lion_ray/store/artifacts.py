"""The artifacts of one study: what is committed under a key, and plain files beside it."""

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
from lion_ray.store.patience import OnOutage, Patience, has_answered, persist, say
from lion_ray.store.redaction import has_credentials
from lion_ray.store.remote_file import protocols
from lion_ray.store.urls import Listed, as_listed, read_file, write_file

NUM_READERS = 32  # small reads that an object store answers side by side
Value = TypeVar("Value")
Result = TypeVar("Result")


class DamagedArtifactWarning(UserWarning):
    """A committed artifact no longer matches its digest; it counts as absent and is made again."""


class Store:
    """The artifacts of one study. `url` is absolute, so it means the same in every process, also after pickling."""

    def __init__(self, url: str, *, patience: Patience | None = None, on_outage: OnOutage = say) -> None:
        """Raises ValueError for an unknown protocol or credentials in the URL, ImportError for a missing package."""
        if has_credentials(url):
            raise ValueError("it holds credentials; give them to every node by its environment, role or secret instead")
        self._patience, self._on_outage = patience or Patience(), on_outage
        self.filesystem, root = filesystem_of(url)
        self._root: str = root.rstrip("/")
        self.url: str = as_url(self.filesystem, self._root, url)

    def __reduce__(self) -> tuple[Any, ...]:
        """By URL: no credentials travel with it, and other processes make their own connections."""
        return _restored, (self.url, self._patience, self._on_outage)

    def telling(self, on_outage: OnOutage) -> Store:
        """This store, with its outages told to somebody else."""
        return Store(self.url, patience=self._patience, on_outage=on_outage)

    def commit(self, key: str, files: Mapping[str, bytes]) -> None:
        """Write `files` under `key` side by side, then `DONE`: a kill leaves all of it or nothing that counts."""
        assert DONE not in files
        side_by_side(lambda name: self.write(f"{key}/{name}", files[name]), files)
        manifest = {name: {"sha256": digest(payload), "size": len(payload)} for name, payload in files.items()}
        self.write(f"{key}/{DONE}", json.dumps(manifest, sort_keys=True, indent=1).encode())

    def load(self, key: str, names: Iterable[str] | None = None) -> dict[str, bytes] | None:
        """The committed files of `key` (only `names`, if given), digests verified; None if absent or damaged."""
        marker = self.read(f"{key}/{DONE}")
        if marker is None:
            return None
        try:
            manifest: dict[str, dict[str, Any]] = json.loads(marker)
            wanted = list(manifest) if names is None else list(names)
            return {name: self._verified(f"{key}/{name}", manifest[name]) for name in wanted}
        except (ValueError, KeyError, TypeError, AttributeError) as damage:
            warnings.warn(f"{self.url}/{key} counts as absent: {damage}", DamagedArtifactWarning, stacklevel=2)
            return None

    def committed(self) -> frozenset[str]:
        """All keys that carry a `DONE`, from one listing."""
        tail = f"/{DONE}"
        return frozenset(path[: -len(tail)] for path in self.listing() if path.endswith(tail))

    def listing(self, folder: str = "") -> dict[str, Listed]:
        """Every file below `folder`, by its path below the root, as another process may just have left it."""
        self.filesystem.invalidate_cache()
        where = f"{self._root}/{folder}".rstrip("/")
        found = self._persist(lambda: self.filesystem.find(where, detail=True), folder)
        files = ((path, entry) for path, entry in found.items() if not is_marker(path))
        entries = ((path[len(self._root) :].strip("/"), entry) for path, entry in files)
        return {path: as_listed(entry) for path, entry in entries}

    def paths(self) -> list[str]:
        """Every file below the root, relative to it."""
        return list(self.listing())

    def read(self, path: str) -> bytes | None:
        """The bytes at `path`, or None if there is no such file."""
        try:
            return self._persist(lambda: read_file(self.filesystem, self.path(path)), path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, path: str, payload: bytes) -> None:
        """Put `payload` at `path` in one piece: a reader sees the old file or the new one, never a part."""
        self._persist(lambda: write_file(self.filesystem, self.path(path), payload), path)

    def remove(self, path: str) -> None:
        """Delete the file at `path`, or everything below it, if it is there."""
        try:
            self._persist(lambda: self.filesystem.rm(self.path(path), recursive=True), path)
        except FileNotFoundError:
            return

    def remove_files(self, paths: Iterable[str]) -> None:
        """Delete many files, in few requests where the storage takes many at once; what is gone is gone."""
        listed = [self.path(path) for path in paths]
        with suppress(FileNotFoundError):
            if listed:
                self._persist(lambda: self.filesystem.rm(listed), "")

    def path(self, path: str) -> str:
        """`path` below the root, as `filesystem` names it."""
        return f"{self._root}/{path}"

    @property
    def is_private(self) -> bool:
        """Whether the files are visible in this process only (`memory://`), so that no worker could write them."""
        return "memory" in protocols(self.filesystem)

    @property
    def is_local(self) -> bool:
        """Whether the files lie in a folder of this machine, which other machines see only if they mount it too."""
        return "file" in protocols(self.filesystem)

    def _persist(self, act: Callable[[], Value], path: str) -> Value:
        where = f"{self.url}/{path}".rstrip("/")
        return persist(act, where, patience=self._patience, on_outage=self._on_outage)

    def _verified(self, path: str, expected: Mapping[str, Any]) -> bytes:
        payload = self.read(path)
        if payload is None:
            raise ValueError(f"{path} is missing")
        if digest(payload) != expected["sha256"] or len(payload) != expected["size"]:
            raise ValueError(f"{path} does not match its digest")
        return payload


def side_by_side(act: Callable[[Value], Result], values: Iterable[Value]) -> list[Result]:
    """`act` of each value, in threads, in their order: an object store answers many small requests at once."""
    listed = list(values)
    if len(listed) < 2:
        return [act(value) for value in listed]
    with ThreadPoolExecutor(min(NUM_READERS, len(listed))) as threads:
        return list(threads.map(act, listed))


def digest(payload: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(payload).hexdigest()


def _restored(url: str, patience: Patience, on_outage: OnOutage) -> Store:
    has_answered(url)  # it did so where it comes from
    return Store(url, patience=patience, on_outage=on_outage)
