"""Decoded pixels in a file of the node that all of its trials map, for training splits beyond the memory budget.

`<name>.pixels` is written first and `<name>.done` last, both under an exclusive lock on `<name>.lock`. A process that
maps the file keeps a shared lock. The kernel releases the locks of a process that ends, so a killed process leaves only
files that the next writer removes. `name` is a hash of content digest, split and transform. `storage` makes the splits.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from lion_ray.config import StudyError
from lion_ray.data.dataset import IndexedSplit, Pixels
from lion_ray.data.decode.encoded import EncodedImages
from lion_ray.data.pool import read_only
from lion_ray.store.local import is_private, node_folder, own_node_folder, private_folder

Fill = Callable[[Pixels], None]

# The maps of this process, with the open files that hold the shared locks.
_OPEN: dict[Path, tuple[Pixels, IO[bytes]]] = {}
_GUARD = threading.Lock()


class DiskFullError(OSError):
    """The disk is too small, even after all unused files have been removed."""


@dataclass(frozen=True, kw_only=True)
class MappedSplit(IndexedSplit):
    """A split whose pixels are in a mapped file of the node.

    Attributes:
        encoded: the images that fill the file.
        folder: the folder of the file; None stands for the node's own (`node_folder`).
        name: the file's name, which identifies the pixels.
    """

    encoded: EncodedImages
    folder: str | None
    name: str

    @property
    def images(self) -> Pixels:
        """See `Split.images`. The file is written now if no trial of this node has written it.

        Raises:
            StudyError: the disk is too small or cannot be written; an image is missing or broken.
        """
        folder = node_folder("decoded") if self.folder is None else Path(self.folder)
        try:
            return mapped(own_folder(folder), self.name, self.encoded.shape, self.encoded.decode_into)
        except OSError as error:
            problem = (
                error if isinstance(error, DiskFullError) else f"{folder} cannot be used ({error.strerror or error})"
            )
            raise StudyError(self.encoded.origin, "data.cache", str(problem)) from error


def own_folder(folder: Path) -> Path:
    """`folder` if only this user can write to it, else a private folder in it, because pixels have no digest.

    Raises:
        OSError: the folder cannot be made, or belongs to another user.
    """
    if folder == node_folder("decoded"):
        return own_node_folder("decoded")
    folder.mkdir(parents=True, exist_ok=True)
    return folder if is_private(folder) else private_folder(folder / f"lion_ray-{os.getuid()}")


def mapped(folder: Path, name: str, shape: tuple[int, ...], fill: Fill) -> Pixels:
    """Map the file `name` as a read-only array. It is written first if it does not exist on this node.

    Args:
        folder: the folder of the file.
        name: the file's name without its ending.
        shape: shape of the uint8 array.
        fill: writes the pixels into a new array.

    Raises:
        DiskFullError: the disk is too small.
    """
    path = folder / f"{name}.pixels"
    with _GUARD:
        if path not in _OPEN:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = path.with_suffix(".lock").open("ab")
            try:
                _ensure_file(path, lock, shape, fill)
            except BaseException:
                lock.close()
                raise
            _OPEN[path] = np.memmap(path, mode="r", dtype=np.uint8, shape=shape), lock
        return _OPEN[path][0]


def _ensure_file(path: Path, lock: IO[bytes], shape: tuple[int, ...], fill: Fill) -> None:
    """Write the file if needed, and return with a shared lock on the finished file."""
    while True:
        fcntl.flock(lock, fcntl.LOCK_SH)  # processes that map the file hold it too, so this waits for a writer only
        if _is_done(path, shape):
            os.utime(_marker(path))  # marks the file as just used
            return
        fcntl.flock(lock, fcntl.LOCK_EX)  # releases the shared lock first, so another process may have written the file
        if not _is_done(path, shape):
            _make(path, shape, fill)


def _make(path: Path, shape: tuple[int, ...], fill: Fill) -> None:
    _remove(path)
    num_bytes = int(np.prod(shape))
    _make_room(path, num_bytes)
    try:
        with path.open("wb") as file:
            _reserve(file, num_bytes, path)
        pixels = np.memmap(path, mode="r+", dtype=np.uint8, shape=shape)
        fill(pixels)
        pixels.flush()
        read_only(pixels)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(str(num_bytes))
        fresh.replace(_marker(path))
    except BaseException:
        _remove(path)
        raise


def _reserve(file: IO[bytes], num_bytes: int, path: Path) -> None:
    """Allocate the disk space now, because a full disk would raise SIGBUS in a mapped file."""
    try:
        os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        raise _no_room(path, num_bytes) from error


def _make_room(path: Path, num_bytes: int) -> None:
    """Remove unfinished files of killed processes, then unmapped files, least recently used first, until it fits."""
    others = [other for other in path.parent.glob("*.pixels") if other != path]
    for other in sorted(others, key=_last_use):
        has_room = shutil.disk_usage(path.parent).free > num_bytes
        if has_room and _marker(other).exists():
            continue
        with _alone(other) as is_unused:
            if is_unused:
                _remove(other)
    if shutil.disk_usage(path.parent).free <= num_bytes:
        raise _no_room(path, num_bytes)


def _no_room(path: Path, num_bytes: int) -> DiskFullError:
    free = shutil.disk_usage(path.parent).free
    return DiskFullError(
        f"{path.parent} has {free / 1e9:.1f} GB free, and the decoded training images need {num_bytes / 1e9:.1f} GB; "
        "name a folder on a larger disk, or raise data.memory_gb"
    )


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Yield whether no other process writes or maps `path`. None can during the block if so."""
    with path.with_suffix(".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _marker(path: Path) -> Path:
    return path.with_suffix(".done")


def _is_done(path: Path, shape: tuple[int, ...]) -> bool:
    return _marker(path).exists() and path.exists() and path.stat().st_size == int(np.prod(shape))


def _last_use(path: Path) -> float:
    return _marker(path).stat().st_mtime if _marker(path).exists() else 0.0


def _remove(path: Path) -> None:
    for file in (_marker(path), path):  # the marker first, so that a half-removed file does not count as finished
        file.unlink(missing_ok=True)
