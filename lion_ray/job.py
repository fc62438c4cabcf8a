"""Being a job of a Ray cluster: Ray reports each failure as 1, so the job's log says the rest in its last line.

`pipeline` calls it for the last line, `console` and `watching` to end a command at any moment.
"""

from __future__ import annotations

import atexit
import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the entrypoint of a submitted job, and for nobody else
CLEAR = "\r\x1b[K"  # the row that progress rewrites in place


class StartError(RuntimeError):
    """The Ray that `cluster` starts in this process did not come up, though it was tried again."""


def is_submitted() -> bool:
    """Whether this process is the entrypoint of `ray job submit`."""
    return SUBMITTED in os.environ


def name_exit_status(status: int) -> None:
    """Make `exit status N` the last line of a submitted job's log, after any traceback."""
    if is_submitted():
        atexit.register(print, f"exit status {status}", flush=True)


def end_at_once(line: str, *, status: int) -> NoReturn:
    """Say `line` on the error stream and go, from any thread, whatever the others wait for."""
    lines = f"{CLEAR * os.isatty(2)}{line}\n" if line else ""
    lines += f"exit status {status}\n" if is_submitted() else ""
    with contextlib.suppress(OSError):
        os.write(2, lines.encode())  # whatever `print` was doing
    os._exit(status)
