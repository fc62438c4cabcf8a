"""Errors that a user can correct, as one line and exit status 2.

Every command of `lion_ray.cli` that reads a URL runs inside `one_line_errors`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from lion_ray.console import plain_warnings, printable
from lion_ray.store import redacted


class OneLine(click.ClickException):
    """An error that click prints as one line on stderr, without usage text. The exit status is 2."""

    exit_code = 2

    def __init__(self, message: object) -> None:
        super().__init__(printable(" ".join(redacted(message).split())))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn errors and warnings about files, tickets and studies into one line each.

    Any other error is a mistake in lion_ray, and its traceback is printed.

    Raises:
        OneLine: an ImportError, OSError or ValueError was raised inside.
    """
    try:
        with plain_warnings():
            yield
    except ImportError as missing:
        remedy = f"{missing.name} is missing: pip install {missing.name}" if missing.name else missing
        raise OneLine(remedy) from missing
    except BrokenPipeError:  # the reader of our output has closed it: click ends without a message
        raise
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
        raise OneLine(message) from error
    except ValueError as error:
        raise OneLine(error) from error
