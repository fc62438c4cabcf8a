"""The exit of a command that may run as a job of a Ray cluster.

Ray reports every failure of a job as 1, so the last line of the job's log holds the exit status. `lion_ray.pipeline`
prints that line; `lion_ray.console` and `lion_ray.sweep.monitor` end a command at any moment.
"""

from __future__ import annotations

import atexit
import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it only for the entrypoint of a submitted job
CLEAR = "\r\x1b[K"  # clears the row that progress rewrites in place


class StartError(RuntimeError):
    """Ray did not start in this process, even after another attempt. `lion_ray.sweep.cluster` raises it."""


def is_submitted() -> bool:
    """Whether this process is the entrypoint of a job that `ray job submit` has started."""
    return SUBMITTED in os.environ


def name_exit_status(status: int) -> None:
    """Make `exit status N` the last line of a submitted job's log, after any traceback."""
    if is_submitted():
        atexit.register(print, f"exit status {status}", flush=True)


def end_at_once(line: str, *, status: int) -> NoReturn:
    """Print `line` on stderr and end the process at once, from any thread and without destructors.

    Args:
        line: the last line for people; empty prints none.
        status: the exit status, which a submitted job prints too.
    """
    lines = f"{CLEAR * os.isatty(2)}{line}\n" if line else ""
    lines += f"exit status {status}\n" if is_submitted() else ""
    with contextlib.suppress(OSError):
        os.write(2, lines.encode())  # `print` could wait for a lock of another thread
    os._exit(status)
