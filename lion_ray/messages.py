"""Lines for people: warnings, each said once without the line of source that gave it, and what fits a terminal's row.

`pipeline` and every command of `cli` run inside `plain_warnings`; `progress` rewrites its row in place.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from lion_ray.store import redacted


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Format what is warned of inside as `Warning: ...`; whoever records warnings is left alone."""
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
