"""The loopback proxy as a process of its own, which can be killed and started again, and a log of what S3 has answered.

python -m tests.faults.logged_proxy TARGET PORT LOG

A line per answer, written before the client hears of it: time, method, path, HTTP status.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path

from tests.support.proxy import FaultyProxy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """One line of the log."""

    at: float
    method: str
    path: str
    status: int


class LoggedProxy(FaultyProxy):
    def __init__(self, target: str, port: int, log: str) -> None:
        super().__init__(target, port)
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def answered(self, request: str, status: int) -> None:
        os.write(
            self._log, f"{time.time():.4f} {request} {status}\n".encode()
        )  # in one piece, and it survives a SIGKILL


def read_log(log: Path) -> list[Answer]:
    """All lines, in their order."""
    found = []
    for line in log.read_text().splitlines():
        at, method, path, status = line.split(" ")
        found.append(Answer(at=float(at), method=method, path=path, status=int(status)))
    return found


if __name__ == "__main__":
    LoggedProxy(sys.argv[1], int(sys.argv[2]), sys.argv[3]).serve_forever()
