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


def one_row(parts: Sequence[str], *, spare: Sequence[str] = ()) -> str:
    """The parts on one row of this terminal: of a line that wraps, only the last row could be rewritten in place.

    Args:
        spare: how the parts begin that a narrow terminal does without, the first of them first; then the longest part
            loses its middle.
    """
    columns = shutil.get_terminal_size().columns - 1
    for dropped in spare:
        if len("  ".join(parts)) > columns:
            parts = [part for part in parts if not part.startswith(dropped)]
    longest, over = max(parts, key=len), len("  ".join(parts)) - columns
    if over > 0:
        head, tail = (kept := max(2, len(longest) - over - 1)) - kept // 2, kept // 2
        parts = [f"{part[:head]}…{part[-tail:]}" if part == longest else part for part in parts]
    return "  ".join(parts)[:columns]
