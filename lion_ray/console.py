"""The terminal of every command: signals, output streams, warnings, and the lines that people read.

`lion_ray.pipeline` and `lion_ray.cli` call `prepare` before torch or Ray are imported. It blocks SIGINT and SIGTERM in
the main thread, so that every later thread inherits the blocked signals, and starts one thread that waits for them.
So a command always ends with one line and its exit status, whatever its other threads do, whatever handlers a library
installs, and without the destructors of libraries. The store needs no clean-up, and a Ray that this process has started
ends with it. `lion_ray.sweep` and `lion_ray.cli` format their lines here.
"""

from __future__ import annotations

import _thread
import contextlib
import io
import os
import pwd
import shutil
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence

from lion_ray import job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, TextIO

    from typing_extensions import Buffer

SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
INTERRUPTED, UNREAD, STOPPED = (128 + number for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM))
AGAIN = ": the same command goes on where this one ended"


class _ProcessState:
    """How this process, which is one command, handles signals. The signal thread and the main thread share it.

    `is_prepared` says that `prepare` was called, `resumes` that the same command continues an interrupted one, and
    `is_lenient` that the next Ctrl-C goes to the Python handler of the main thread.
    """

    is_prepared = False
    resumes = False
    is_lenient = False


def prepare(*, resumes: bool = False) -> None:
    """Handle signals in a thread, make output streams that can write any text, and set a home folder.

    Args:
        resumes: whether the same command continues where this one is interrupted; the last line then says so.
    """
    _ProcessState.is_prepared, _ProcessState.resumes = True, resumes
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    os.register_at_fork(after_in_child=_unblock_signals)
    threading.Thread(target=_wait_for_signals, name="signals", daemon=True).start()
    sys.stdout, sys.stderr = _stream(1, sys.stdout), _stream(2, sys.stderr)
    _set_home()


def interrupted(*, resumes: bool) -> str:
    """The line that a command prints on Ctrl-C."""
    return f"interrupted{AGAIN if resumes else ''}"


def leave(status: int) -> NoReturn:
    """End the process with `status`.

    After an interruption no destructors run, because those of Ray may then end in a segmentation fault.
    """
    if status != INTERRUPTED or not _ProcessState.is_prepared:
        sys.exit(status)
    job.end_at_once("", status=status)


@contextlib.contextmanager
def interrupted_by_the_main_thread() -> Iterator[None]:
    """Inside the block, the first Ctrl-C calls the Python handler of the main thread, such as that of Ray Tune."""
    _ProcessState.is_lenient = True
    try:
        yield
    finally:
        _ProcessState.is_lenient = False


def _wait_for_signals() -> NoReturn:
    while True:
        number = signal.sigwait(SIGNALS)
        if number == signal.SIGINT and _ProcessState.is_lenient:
            _ProcessState.is_lenient = False
            _thread.interrupt_main()
        elif number == signal.SIGINT:
            job.end_at_once(interrupted(resumes=_ProcessState.resumes), status=INTERRUPTED)
        else:
            job.end_at_once(f"stopped{AGAIN if _ProcessState.resumes else ''}", status=STOPPED)


def _unblock_signals() -> None:
    """Let a forked child, such as Ray's processes, receive signals again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


class _Output(io.FileIO):
    """A standard stream. If its reader closes it, the command ends."""

    def write(self, payload: Buffer, /) -> int:
        try:
            return super().write(payload)
        except BrokenPipeError:
            line = f"nobody reads the output any more{AGAIN}" if _ProcessState.resumes else ""
            job.end_at_once(line, status=UNREAD)


def _stream(descriptor: int, before: TextIO | None) -> TextIO | None:
    """The stream with its encoding. Characters outside the encoding are escaped, and each line is written at once."""
    if before is None or before.fileno() != descriptor:  # without a terminal Python may have no stream
        return before
    before.flush()
    raw = io.BufferedWriter(_Output(descriptor, "wb", closefd=False))
    return io.TextIOWrapper(raw, encoding=before.encoding, errors="backslashreplace", line_buffering=True)


def _set_home() -> None:
    """Set a private HOME for a user that the system does not know, as in containers; the import of Ray needs one."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", str(os.getuid()))
        if not os.environ.get("HOME"):
            from lion_ray.store.local import home_for_now

            os.environ["HOME"] = str(home_for_now())


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Format warnings inside the block as one line, `Warning: ...`, each text once and without credentials.

    Code that records warnings still gets the warning objects.
    """
    from lion_ray.store import redacted

    before, printed = warnings.formatwarning, set[str]()

    def plain(message: Warning | str, *_: object, **__: object) -> str:
        text = f"Warning: {' '.join(redacted(message).split())}\n"
        new = "" if text in printed else text
        printed.add(text)
        return new

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def printable(text: str) -> str:
    """`text` with line ends, tabs and control codes as escape sequences, so that a terminal or table stays intact."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def one_row(parts: Sequence[str], *, spare: Sequence[str] = (), last: Sequence[str] = (), name: str = "") -> str:
    """The parts of a progress line on one row of this terminal, because a line that wraps cannot be rewritten in place.

    A terminal that is too narrow leaves out the `spare` parts first, then shortens `name`, then leaves out the `last`.

    Args:
        parts: the texts of the line, from left to right.
        spare: the beginnings of the parts that are left out first, in this order.
        last: the beginnings of the parts that are left out if even the shortest `name` does not fit beside them.
        name: the part that is shortened, up to the text behind its last slash; empty for none.
    """
    columns = shutil.get_terminal_size().columns - 1
    short = name and _shortened(name, 0)
    for dropped, needed in [*((start, name) for start in spare), *((start, short) for start in last)]:
        if len("  ".join(parts)) - len(name) + len(needed) > columns:
            parts = [part for part in parts if part == name or not part.startswith(dropped)]
    room = columns - len("  ".join(parts)) + len(name)
    return "  ".join(_shortened(name, room) if part == name else part for part in parts)[:columns]


def _shortened(name: str, room: int) -> str:
    """`name` in at most `room` characters, but at least `…` and the text behind its last slash."""
    if len(name) <= room:
        return name
    head, slash, tail = name.rpartition("/")
    kept = max(0, room - len(slash + tail) - 1)
    return f"{head[:kept]}…{slash}{tail}"


def clock(seconds: float) -> str:
    """A time in seconds as `mm:ss`, or as `h:mm:ss` from one hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
