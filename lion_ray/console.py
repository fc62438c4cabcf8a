"""The terminal side of every command: its first instant, and how lines for people are written.

`pipeline` and `cli` call `prepare` before anything heavy is imported: signals, output streams, a home folder. The
signals that end a command are blocked in the main thread, so that every later thread, of torch or Ray, inherits that,
and one thread waits for them: whatever the others are doing, and whatever handlers a library installs, the command ends
with one line, its exit status, and no library's destructors. The store needs no goodbye, and the Ray that was started
in here ends with this process.
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
    from typing import Any, NoReturn

SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
INTERRUPTED, UNREAD, STOPPED = (128 + number for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGTERM))
AGAIN = ": the same command goes on where this one ended"


class _Surroundings:
    """Of this process, which is one command."""

    is_prepared = False
    resumes = False
    is_lenient = False  # the next Ctrl-C is handled by the main thread's own handler


def prepare(*, resumes: bool = False) -> None:
    """Mind signals, make streams that can say anything, and name a home folder.

    Args:
        resumes: the same command goes on where this one is ended.
    """
    _Surroundings.is_prepared, _Surroundings.resumes = True, resumes
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    os.register_at_fork(after_in_child=_as_before)
    threading.Thread(target=_mind, name="signals", daemon=True).start()
    sys.stdout, sys.stderr = _stream(1, sys.stdout), _stream(2, sys.stderr)
    _name_home()


def interrupted(*, resumes: bool) -> str:
    """What Ctrl-C is answered with."""
    return f"interrupted{AGAIN if resumes else ''}"


def leave(status: int) -> NoReturn:
    """End with `status`; after an interruption without destructors, as Ray's may then end in a segmentation fault."""
    if status != INTERRUPTED or not _Surroundings.is_prepared:
        sys.exit(status)
    job.end_at_once("", status=status)


@contextlib.contextmanager
def interrupted_by_the_main_thread() -> Iterator[None]:
    """Inside, the first Ctrl-C calls the Python handler of whoever works in the main thread, such as Ray Tune."""
    _Surroundings.is_lenient = True
    try:
        yield
    finally:
        _Surroundings.is_lenient = False


def _mind() -> NoReturn:
    while True:
        number = signal.sigwait(SIGNALS)
        if number == signal.SIGINT and _Surroundings.is_lenient:
            _Surroundings.is_lenient = False
            _thread.interrupt_main()
        elif number == signal.SIGINT:
            job.end_at_once(interrupted(resumes=_Surroundings.resumes), status=INTERRUPTED)
        else:
            job.end_at_once(f"stopped{AGAIN if _Surroundings.resumes else ''}", status=STOPPED)


def _as_before() -> None:
    """A child that is forked with Python's hooks, as all of Ray's are, takes signals as any process does."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


class _Output(io.FileIO):
    """A standard stream whose reader may leave: then nobody is told any more, and the command ends."""

    def write(self, payload: Any, /) -> int:
        try:
            return super().write(payload)
        except BrokenPipeError:
            line = f"nobody reads the output any more{AGAIN}" if _Surroundings.resumes else ""
            job.end_at_once(line, status=UNREAD)


def _stream(descriptor: int, before: Any) -> Any:
    """The stream in its encoding, what that cannot say escaped; every line is written at once."""
    if before is None or before.fileno() != descriptor:
        return before
    before.flush()
    raw = io.BufferedWriter(_Output(descriptor, "wb", closefd=False))
    return io.TextIOWrapper(raw, encoding=before.encoding, errors="backslashreplace", line_buffering=True)


def _name_home() -> None:
    """Containers may run a user whom nobody knows: then a private folder, as Ray's import already asks for one."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", str(os.getuid()))
        if not os.environ.get("HOME"):
            from lion_ray.store.local import home_for_now

            os.environ["HOME"] = str(home_for_now())


@contextlib.contextmanager
def plain_warnings() -> Iterator[None]:
    """Format what is warned of inside as `Warning: ...`; whoever records warnings is left alone."""
    from lion_ray.store import redacted

    before, said = warnings.formatwarning, set[str]()

    def plain(message: Warning | str, *_: object, **__: object) -> str:
        text = f"Warning: {' '.join(redacted(message).split())}\n"
        new = "" if text in said else text
        said.add(text)
        return new

    warnings.formatwarning = plain
    try:
        yield
    finally:
        warnings.formatwarning = before


def printable(text: str) -> str:
    """`text` without what a terminal or a table would act on: line ends, tabs and control codes are spelled out."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def one_row(parts: Sequence[str], *, spare: Sequence[str] = (), last: Sequence[str] = (), name: str = "") -> str:
    """The parts on one row of this terminal: of a line that wraps, only the last row could be rewritten in place.

    Args:
        spare: how the parts begin that a narrow terminal does without, the first of them first.
        last: those that go if the shortest spelling of `name` does not fit beside them.
        name: the part that in between loses what it can, but for what stands behind its last slash.
    """
    columns = shutil.get_terminal_size().columns - 1
    short = name and _shortened(name, 0)
    for dropped, needed in [*((each, name) for each in spare), *((each, short) for each in last)]:
        if len("  ".join(parts)) - len(name) + len(needed) > columns:
            parts = [part for part in parts if part == name or not part.startswith(dropped)]
    room = columns - len("  ".join(parts)) + len(name)
    return "  ".join(_shortened(name, room) if part == name else part for part in parts)[:columns]


def _shortened(name: str, room: int) -> str:
    """`name` in so many characters, or `…` and what stands behind its last slash."""
    if len(name) <= room:
        return name
    head, slash, tail = name.rpartition("/")
    kept = max(0, room - len(slash + tail) - 1)
    return f"{head[:kept]}…{slash}{tail}"


def clock(seconds: float) -> str:
    """`mm:ss`, or `h:mm:ss` from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
