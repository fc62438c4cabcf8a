"""`memory://` across processes: an actor holds the files while a sweep runs, and the driver takes them back at its end.

For notebooks and throw-away runs on one machine: what is in memory ends with the process that started the sweep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray

from lion_ray.store import ListedFile, OnOutage, Store


class HostedStore(Store):
    """A store whose files are in an actor; it works the same in every process of the sweep."""

    def __init__(self, url: str, host: Any) -> None:
        super().__init__(url)
        self._host = host

    def read(self, path: str) -> bytes | None:
        """As `Store.read`."""
        payload: bytes | None = ray.get(self._host.read.remote(path))
        return payload

    def write(self, path: str, payload: bytes) -> None:
        """As `Store.write`."""
        ray.get(self._host.write.remote(path, payload))

    def listing(self, folder: str = "") -> dict[str, ListedFile]:
        """As `Store.listing`."""
        found: dict[str, ListedFile] = ray.get(self._host.listing.remote(folder))
        return found

    def remove(self, path: str) -> None:
        """As `Store.remove`."""
        ray.get(self._host.remove.remote(path))

    def remove_files(self, paths: Iterable[str]) -> None:
        """As `Store.remove_files`."""
        ray.get(self._host.remove_files.remote(list(paths)))

    def __reduce__(self) -> tuple[Any, ...]:
        return HostedStore, (self.url, self._host)

    def reporting_outages_to(self, on_outage: OnOutage) -> Store:
        """This store: an actor does not fall silent by itself."""
        return self


@contextmanager
def visible_to_workers(store: Store) -> Iterator[Store]:
    """`store` as trials can use it: itself, unless its files are visible in this process only."""
    if not store.is_private:
        yield store
        return
    host = ray.remote(num_cpus=0)(Store).remote(store.url)
    hosted = HostedStore(store.url, host)
    _copy(store, hosted)
    try:
        yield hosted
    finally:
        _copy(hosted, store)
        ray.kill(host)


def _copy(source: Store, target: Store) -> None:
    """Markers last, as everywhere."""
    for path in sorted(source.paths(), key=lambda path: path.endswith("/DONE")):
        payload = source.read(path)
        if payload is not None:
            target.write(path, payload)
