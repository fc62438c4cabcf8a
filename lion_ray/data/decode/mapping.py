"""Decoded pixels in a file of the node, mapped by all of its trials: for training splits beyond the memory budget.

`<name>.pixels` is written first and `<name>.done` last, both under an exclusive lock on `<name>.lock`; who maps the
file keeps a shared one. The kernel drops locks with their process, so kill -9 at any moment leaves only what the next
that makes a file removes. `name` says what the pixels are: content digest, split, transform.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
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
from lion_ray.data.pool import frozen
from lion_ray.store.local import is_private, private_folder

Fill = Callable[[Pixels], None]

_OPEN: dict[Path, tuple[Pixels, IO[bytes]]] = {}  # of this process; the files hold their shared locks
_GUARD = threading.Lock()


class NoRoom(OSError):
    """The disk is too small, with all removed that nobody uses."""


@dataclass(frozen=True, kw_only=True)
class MappedSplit(IndexedSplit):
    """A split whose pixels lie in the node's file `name` below `folder` (None: the default), made from `encoded`."""

    encoded: EncodedImages
    folder: str | None
    name: str

    @property
    def images(self) -> Pixels:
        """See `Split.images`; made now if no trial of this node has.

        Raises:
            StudyError: the disk is too small or cannot be written; an image is missing or broken.
        """
        folder = default_folder() if self.folder is None else Path(self.folder)
        try:
            return mapped(own_folder(folder), self.name, self.encoded.shape, self.encoded.decode_into)
        except OSError as error:
            problem = error if isinstance(error, NoRoom) else f"{folder} cannot be used ({error.strerror or error})"
            raise StudyError(self.encoded.origin, "data.cache", str(problem)) from error


def default_folder() -> Path:
    """In the node's folder for temporary files (`TMPDIR`), one per user."""
    return Path(tempfile.gettempdir()) / f"lion_ray-{os.getuid()}" / "decoded"


def own_folder(folder: Path) -> Path:
    """`folder` if nobody else can write to it, otherwise this user's in it: pixels are believed without a digest.

    Raises:
        OSError: it cannot be made, or belongs to somebody else.
    """
    if folder == default_folder():
        return private_folder(private_folder(folder.parent) / folder.name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder if is_private(folder) else private_folder(folder / f"lion_ray-{os.getuid()}")


def mapped(folder: Path, name: str, shape: tuple[int, ...], fill: Fill) -> Pixels:
    """The read-only array in the file `name`; `fill` makes it, once per node.

    Raises:
        NoRoom: the disk is too small.
    """
    path = folder / f"{name}.pixels"
    with _GUARD:
        if path not in _OPEN:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = path.with_suffix(".lock").open("ab")
            try:
                _make_sure(path, lock, shape, fill)
            except BaseException:
                lock.close()
                raise
            _OPEN[path] = np.memmap(path, mode="r", dtype=np.uint8, shape=shape), lock
        return _OPEN[path][0]


def _make_sure(path: Path, lock: IO[bytes], shape: tuple[int, ...], fill: Fill) -> None:
    """Return with a finished file and a shared lock on it."""
    while True:
        fcntl.flock(lock, fcntl.LOCK_SH)  # who maps it keeps one for as long as it lives: nobody waits for those
        if _is_done(path, shape):
            os.utime(_marker(path))  # used now
            return
        fcntl.flock(lock, fcntl.LOCK_EX)  # gives the shared one up first; another may have made it in between
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
        frozen(pixels)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(str(num_bytes))
        fresh.replace(_marker(path))
    except BaseException:
        _remove(path)
        raise


def _reserve(file: IO[bytes], num_bytes: int, path: Path) -> None:
    """Take the disk space now: a full disk under a mapped file would be a SIGBUS."""
    try:
        os.posix_fallocate(file.fileno(), 0, num_bytes)
    except OSError as error:
        raise _no_room(path, num_bytes) from error


def _make_room(path: Path, num_bytes: int) -> None:
    """Remove what killed builders left; then, the longest unused first, what nobody maps until `num_bytes` fit."""
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


def _no_room(path: Path, num_bytes: int) -> NoRoom:
    free = shutil.disk_usage(path.parent).free
    return NoRoom(
        f"{path.parent} has {free / 1e9:.1f} GB free, and the decoded training images need {num_bytes / 1e9:.1f} GB; "
        "name a folder on a larger disk, or raise data.memory_gb"
    )


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody makes or maps `path`; nobody does while this lasts."""
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
    for file in (_marker(path), path):  # the marker first: what is half removed is not done
        file.unlink(missing_ok=True)
