"""Folders of this machine: those for what Tune and Train write and nobody keeps, and those that belong to one user.

`sweep` and `distributed` make one of the first kind each; those that a killed process left behind go at the next start.
Its owner holds a lock on it, which ends with the process, however that ends: a folder that nobody has locked is
rubbish, in whatever container or under whatever process number it was made. `data` and `backbones` keep things for
later in `private` folders, whose names never begin as a scratch folder's does.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "lion_ray_scratch-"


@contextmanager
def scratch(purpose: str) -> Iterator[str]:
    """A fresh folder of this machine, deleted in the end; deletes those of dead processes, before and after."""
    remove_abandoned()
    folder, lock = _locked(purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        remove_abandoned()


def remove_abandoned() -> None:
    """Delete every scratch folder whose owner is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # locked, another user's, or deleted by somebody else at the same moment
            lock = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def private(folder: Path) -> Path:
    """`folder`, made if need be, once it is known that nobody else can have put anything into it.

    Folders for temporary files are shared by all users of a machine, and whoever comes first may make any name there.

    Raises:
        PermissionError: it is a link, belongs to somebody else, or is no folder.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(opened).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
        os.fchmod(opened, 0o700)
    finally:
        os.close(opened)
    return folder


def home_for_now() -> Path:
    """A home for a user who has none: a private folder among those for temporary files."""
    try:
        return private(private(Path(tempfile.gettempdir()) / f"lion_ray-{os.getuid()}") / "home")
    except OSError:  # somebody else was there first
        return Path(tempfile.mkdtemp(prefix="lion-ray-home-"))


def is_private(folder: Path) -> bool:
    """Whether `folder` is a folder of this user that nobody else can write to."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _locked(purpose: str) -> tuple[str, int]:
    """A new folder and its lock. Another process may take it for abandoned until it is locked: then one more."""
    while True:
        folder = tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-")
        with suppress(OSError):
            lock = _lock(Path(folder))
            if os.path.isdir(folder):
                return folder, lock
            os.close(lock)


def _lock(folder: Path) -> int:
    """Raises OSError if it is locked, gone, a link, or another user's."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(opened).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened
