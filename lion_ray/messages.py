"""Warnings for people: one line each, said once, without the line of source that gave it.

`pipeline` and every command of `cli` run inside `plain_warnings`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
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
