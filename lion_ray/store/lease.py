"""A lease that allows one driver per study: a small file that the driver rewrites while it runs.

A second driver that finds the file watches, by its own clock, whether it changes; clocks of other machines are never
compared. A file that does not change belongs to a driver that has died, and the second driver takes the lease over. If
two drivers start at the same moment, both write the file. The last writer holds the lease, and the other one notices
before its first trial. Two drivers can only run together if one loses the storage for longer than `patience`. Even then
both write the same bits, and a mixture fails its digests. `lion_ray.sweep.run` holds the lease.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from types import TracebackType
from typing import Any

from lion_ray.store.artifacts import Store
from lion_ray.store.faults import StorageError
from lion_ray.store.layout import DRIVER

BEAT = 3.0  # seconds between two writes
PATIENCE = 12.0  # seconds without a change after which the driver counts as dead


class StudyInUseError(StorageError):
    """Another driver holds the lease of this study."""


class Lease:
    """A context manager that holds a study's lease. `check` raises once another driver has taken it.

    A store in memory needs no lease, because no other process sees it.

    Args:
        store: the study's store.
        beat: seconds between two writes of the file.
        patience: seconds without a change after which another driver counts as dead.
    """

    def __init__(self, store: Store, *, beat: float = BEAT, patience: float = PATIENCE) -> None:
        self._store, self._beat, self._patience = store, beat, patience
        self._id = uuid.uuid4().hex
        self._process = {"host": _host(), "pid": os.getpid(), "born": _start_of(os.getpid())}
        self._count = 0
        self._over, self._lost = threading.Event(), False
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __reduce__(self) -> tuple[type[Lease], tuple[Store]]:
        return Lease, (self._store,)  # Tune pickles the values that it is given; a copy does not hold the lease

    def __enter__(self) -> Lease:
        """Take the lease.

        Raises:
            StudyInUseError: another driver is alive.
        """
        if self._store.is_private:
            return self
        content = self._store.read(DRIVER)
        if content is not None and not _is_dead(content) and self._changes(content):
            raise self._in_use(content)
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release the lease, unless another driver has taken it or the storage failed."""
        if self._store.is_private:
            return
        self._over.set()
        self._thread.join(timeout=2 * self._beat)
        if self._lost or isinstance(error, StorageError):
            return
        content = self._store.read(DRIVER)
        # Another driver may have taken the lease since the last write.
        if content is not None and _fields(content).get("id") == self._id:
            self._store.remove(DRIVER)

    def check(self) -> None:
        """Read the lease file.

        Raises:
            StudyInUseError: another driver has taken the lease.
        """
        content = self._store.read(DRIVER)
        if content is not None and _fields(content).get("id") != self._id:
            self._lost = True
            raise self._in_use(content)

    @property
    def is_lost(self) -> bool:
        """Whether another driver had taken the lease at the last check."""
        return self._lost

    def _changes(self, content: bytes) -> bool:
        """Whether a living driver rewrites the file within `patience` seconds."""
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            time.sleep(min(1.0, self._patience / 10))
            now = self._store.read(DRIVER)
            if now != content:
                return now is not None
        return False

    def _renew(self) -> None:
        while not self._over.wait(self._beat):
            try:
                self.check()
                self._write()
            except StudyInUseError:
                return
            except StorageError:
                continue  # the next operation that needs the storage reports the fault

    def _write(self) -> None:
        self._count += 1
        self._store.write(DRIVER, json.dumps({"id": self._id, **self._process, "count": self._count}).encode())

    def _in_use(self, content: bytes) -> StudyInUseError:
        return StudyInUseError(
            f"{self._store.url} is in use by another driver, {_where(content)}; wait for it, or stop it"
        )


def current_driver(store: Store) -> str | None:
    """The driver that holds a study's lease, as `process 12 on host`; None without one.

    A driver that was killed on another machine is still returned, because its death cannot be known here.
    """
    content = None if store.is_private else store.read(DRIVER)
    return None if content is None or _is_dead(content) else _where(content)


def remove_dead_lease(store: Store) -> None:
    """Remove the lease file of a driver on this machine that was killed, for a study with no work left."""
    content = None if store.is_private else store.read(DRIVER)
    if content is not None and _is_dead(content):
        store.remove(DRIVER)


def _is_dead(content: bytes) -> bool:
    """Whether the driver that wrote the lease file has certainly ended, so that there is no need to wait for a change.

    This is certain only if its process number means the same here: on the same host, in the same boot of the machine
    and in the same PID namespace. The boot is compared because host names and the name of the first PID namespace are
    not unique among machines.
    """
    owner, own = _fields(content), _start_of(os.getpid())
    pid, born = owner.get("pid"), str(owner.get("born"))
    boot = own.partition("/")[0]
    is_here = bool(boot) and owner.get("host") == _host() and born.partition("/")[0] == boot
    if not is_here or not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    return not _exists(pid) or _start_of(pid) not in ("", born)


def _where(content: bytes) -> str:
    owner = _fields(content)
    return f"process {owner.get('pid')} on {str(owner.get('host')).partition(' ')[0]}"


def _host() -> str:
    """Host name and PID namespace; containers may share a host's name but not its PID namespace."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _exists(pid: int) -> bool:
    """Whether a process with that number runs, of any user. A zombie process does not count."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _stat(pid)[:1] != ["Z"]


def _start_of(pid: int) -> str:
    """Boot identifier of the machine and start time of the process; empty if unknown, as for other users' processes."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()}/{_stat(pid)[19]}"
    except (OSError, IndexError):
        return ""


def _stat(pid: int) -> list[str]:
    """The fields of `/proc/PID/stat` from the state on; empty if unreadable or of another PID namespace."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # /proc belongs to another PID namespace
            return []
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()
    except OSError:
        return []


def _fields(content: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
