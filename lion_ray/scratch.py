"""Folders for what Tune and Train write and nobody keeps; those that a killed process left behind go at the next start.

`sweep` and `distributed` make one each. Its owner holds a lock on it, which ends with the process, however that ends:
a folder that nobody has locked is rubbish, in whatever container or under whatever process number it was made.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "lion_ray_"


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
    """Raises OSError if it is locked, or gone."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened
