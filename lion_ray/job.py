"""Being a job of a Ray cluster: Ray reports each failure as 1 and stops a job with SIGTERM, so its log says the rest.

`pipeline` calls it for the last line, `cluster` once Ray has put its own signal handler in place. Outside a submitted
job, nothing here does anything.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from typing import NoReturn

SUBMITTED = "RAY_JOB_CONFIG_JSON_ENV_VAR"  # Ray sets it for the entrypoint of a submitted job, and for nobody else
STOPPED = 128 + signal.SIGTERM


class StartError(RuntimeError):
    """The Ray that `cluster` starts in this process did not come up, though it was tried again."""


def is_submitted() -> bool:
    """Whether this process is the entrypoint of `ray job submit`."""
    return SUBMITTED in os.environ


def name_exit_status(status: int) -> None:
    """Make `exit status N` the last line of a submitted job's log, after any traceback."""
    if is_submitted():
        atexit.register(print, f"exit status {status}", flush=True)


def end_when_stopped() -> None:
    """On SIGTERM say so and go at once; Ray ends the job's trials with it, and the store needs no goodbye."""
    if is_submitted() and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _stopped)


def end_at_once(line: str, *, status: int) -> NoReturn:
    """Say `line` and go, from any thread, whatever the others wait for."""
    lines = f"{line}\nexit status {status}\n" if is_submitted() else f"{line}\n"
    os.write(1, lines.encode())  # whatever `print` was doing
    os._exit(status)


def _stopped(*_: object) -> None:
    end_at_once("stopped: the same command goes on where this one ended", status=STOPPED)
