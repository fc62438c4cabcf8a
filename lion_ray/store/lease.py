"""One driver per study: a small file that its driver rewrites while it lives.

Whoever finds one looks whether it changes, by a clock of its own: no clock of another machine is believed. One that
does not change belonged to a driver that died, and is taken. Two that start at the same moment both write; the last to
write holds it, and the other sees that before its first trial. Should two ever run together all the same (the storage
was cut off from one of them for longer than `patience`), they write the same bits, and what mixes fails its digest.
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

BEAT = 3.0  # seconds between two changes
PATIENCE = 12.0  # seconds without a change after which its driver counts as dead


class StudyInUseError(StorageError):
    """Another driver works on this study."""


class Lease:
    """Held from `with Lease(store):` on; `check` says when it was lost."""

    def __init__(self, store: Store, *, beat: float = BEAT, patience: float = PATIENCE) -> None:
        self._store, self._beat, self._patience = store, beat, patience
        self._id = uuid.uuid4().hex
        self._who = {"host": _host(), "pid": os.getpid(), "born": _start_of(os.getpid())}
        self._count = 0
        self._over, self._lost = threading.Event(), False
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __reduce__(self) -> tuple[type[Lease], tuple[Store]]:
        return Lease, (self._store,)  # Tune saves copies of what it is given; they hold nothing

    def __enter__(self) -> Lease:
        """Raises StudyInUseError if another driver lives."""
        if self._store.is_private:
            return self
        found = self._store.read(DRIVER)
        if found is not None and not _is_dead(found) and self._changes(found):
            raise self._in_use(found)
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give it back."""
        if self._store.is_private:
            return
        self._over.set()
        self._thread.join(timeout=2 * self._beat)
        if self._lost or isinstance(error, StorageError):
            return
        found = self._store.read(DRIVER)
        if found is not None and _fields(found).get("id") == self._id:  # no beat may have come since another took it
            self._store.remove(DRIVER)

    def check(self) -> None:
        """Raises StudyInUseError if another driver has taken it."""
        found = self._store.read(DRIVER)
        if found is not None and _fields(found).get("id") != self._id:
            self._lost = True
            raise self._in_use(found)

    @property
    def is_lost(self) -> bool:
        """Whether another driver has taken it, as far as the last beat saw."""
        return self._lost

    def _changes(self, found: bytes) -> bool:
        """Whether anybody rewrites it."""
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            time.sleep(min(1.0, self._patience / 10))
            now = self._store.read(DRIVER)
            if now != found:
                return now is not None
        return False

    def _keep(self) -> None:
        while not self._over.wait(self._beat):
            try:
                self.check()
                self._write()
            except StudyInUseError:
                return
            except StorageError:
                continue  # whoever needs the storage says so

    def _write(self) -> None:
        self._count += 1
        self._store.write(DRIVER, json.dumps({"id": self._id, **self._who, "count": self._count}).encode())

    def _in_use(self, found: bytes) -> StudyInUseError:
        return StudyInUseError(
            f"{self._store.url} is in use by another driver, {_where(found)}; wait for it, or stop it"
        )


def holder(store: Store) -> str | None:
    """The driver that works on a study, `process 12 on host`; one that was killed elsewhere is not known to be gone."""
    found = None if store.is_private else store.read(DRIVER)
    return None if found is None or _is_dead(found) else _where(found)


def forget_dead(store: Store) -> None:
    """Remove what a driver of this machine left that was killed behind its study's last round."""
    found = None if store.is_private else store.read(DRIVER)
    if found is not None and _is_dead(found):
        store.remove(DRIVER)


def _is_dead(found: bytes) -> bool:
    """Whether its driver is known to have ended, so that nobody need wait for a change.

    That is known only where its process number means what it meant there: on the same host, since the same start of the
    machine, in the same namespace of process numbers. Machines share host names, and the first namespace is called
    alike on all of them.
    """
    who, own = _fields(found), _start_of(os.getpid())
    pid, born = who.get("pid"), str(who.get("born"))
    boot = own.partition("/")[0]
    is_here = bool(boot) and who.get("host") == _host() and born.partition("/")[0] == boot
    if not is_here or not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    return not _exists(pid) or _start_of(pid) not in ("", born)


def _where(found: bytes) -> str:
    who = _fields(found)
    return f"process {who.get('pid')} on {str(who.get('host')).partition(' ')[0]}"


def _host() -> str:
    """This machine, and where process numbers mean the same: containers may share a host's name."""
    try:
        return f"{socket.gethostname()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _exists(pid: int) -> bool:
    """Whether a process of that number runs, anybody's; one that has ended and waits for its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _stat(pid)[:1] != ["Z"]


def _start_of(pid: int) -> str:
    """When a process was started, with the start of its machine; empty if nobody says, as of other users' processes."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as boot:
            return f"{boot.read().strip()}/{_stat(pid)[19]}"
    except (OSError, IndexError):
        return ""


def _stat(pid: int) -> list[str]:
    """What the kernel says of a process from its state on; empty if it may not be asked, or counts otherwise."""
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # /proc shows another namespace of process numbers
            return []
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()
    except OSError:
        return []


def _fields(found: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(found)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
