"""Local folders: scratch folders that are deleted after use, and private folders that one user owns.

`lion_ray.sweep.run` and `lion_ray.sweep.train_workers` give Tune and Train a scratch folder each. The owning process
holds a file lock on it, which the kernel releases when the process ends. A scratch folder without a lock is therefore
abandoned, whatever container or process number it came from, and the next run deletes it. `lion_ray.data` and
`lion_ray.backbones` keep caches in this user's `node_folder`, whose name never begins with `PREFIX`.
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
def scratch_folder(purpose: str) -> Iterator[str]:
    """A new local folder that is deleted when the block ends. `purpose` becomes part of its name.

    Scratch folders of processes that have ended are deleted before and after the block.
    """
    remove_abandoned()
    folder, lock = _locked(purpose)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
        remove_abandoned()


def remove_abandoned() -> None:
    """Delete every scratch folder whose process has ended."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is locked, belongs to another user, or another process deletes it now
            lock = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def private_folder(folder: Path) -> Path:
    """Create `folder` if it is missing, and make sure that only this user can write to it.

    All users of a machine share the folder for temporary files, so another user may have created the name first.

    Raises:
        OSError: `folder` is a link or no folder.
        PermissionError: it belongs to another user.
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


def node_folder(kind: str) -> Path:
    """This user's folder of one kind on this node, below the folder for temporary files; it need not exist yet.

    There are three kinds. `decoded` holds decoded pixels that all trials of the node map (`data.decode.mapping`),
    `weights` copies of backbone weights (`backbones.node`), and `home` stands in for a home folder.
    """
    return Path(tempfile.gettempdir()) / f"lion_ray-{os.getuid()}" / kind


def own_node_folder(kind: str) -> Path:
    """`node_folder(kind)`, made if need be, where nobody else can write.

    Raises:
        OSError: it cannot be made, or another user or a link has its name.
    """
    folder = node_folder(kind)
    return private_folder(private_folder(folder.parent) / folder.name)


def home_for_now() -> Path:
    """A home folder for a user without one."""
    try:
        return own_node_folder("home")
    except OSError:  # another user has created that name first
        return Path(tempfile.mkdtemp(prefix="lion-ray-home-"))


def is_private(folder: Path) -> bool:
    """Whether `folder` is a folder that this user owns and that no other user can write to."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _locked(purpose: str) -> tuple[str, int]:
    """A new folder and its lock. Another process may delete the folder before it is locked; then a new one is made."""
    while True:
        folder = tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-")
        with suppress(OSError):
            lock = _lock(Path(folder))
            if os.path.isdir(folder):
                return folder, lock
            os.close(lock)


def _lock(folder: Path) -> int:
    """Lock `folder` and return its descriptor. Raises OSError if it is locked, missing, a link, or another user's."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(opened).st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, "it belongs to another user", str(folder))
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        raise
    return opened
