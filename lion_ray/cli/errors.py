"""What a user can mend, as one line and exit status 2; every command that reads a URL runs inside it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from lion_ray.console import plain_warnings, printable
from lion_ray.store import redacted


class OneLine(click.ClickException):
    """One line on stderr, exit status 2, no usage text around it."""

    exit_code = 2

    def __init__(self, message: object) -> None:
        super().__init__(printable(" ".join(redacted(message).split())))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Errors and warnings about files, tickets and studies as one line each; anything else is a fault of ours."""
    try:
        with plain_warnings():
            yield
    except ImportError as missing:
        remedy = f"{missing.name} is missing: pip install {missing.name}" if missing.name else missing
        raise OneLine(remedy) from missing
    except BrokenPipeError:  # the reader of our output has left: click ends quietly
        raise
    except OSError as error:
        told = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error
        raise OneLine(told) from error
    except ValueError as error:
        raise OneLine(error) from error
