"""A driver under observation: what it prints, and when."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

TRAINING = r"(?:(?!  ).)+ seed \d+  round \d+/\d+(?: \w+)?"  # fields of a line stand two spaces apart
EPOCH = re.compile(rf"  (?P<training>{TRAINING})  epoch (?P<epoch>\d+)/")


class Driver:
    """One run of the command; its lines are kept with their times, and written to `log`."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.lines: list[tuple[float, str]] = []
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        self._log = log
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self._log.open("a") as out:
            print(f"--- driver {self.process.pid}", file=out, flush=True)
            for line in self.process.stdout:
                self.lines.append((time.time(), line.rstrip("\n")))
                print(f"{time.time():.2f} {line}", end="", file=out, flush=True)

    def ends_within(self, seconds: float) -> bool:
        try:
            self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        self._reader.join(timeout=5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return True

    @property
    def status(self) -> int:
        """As a shell tells it; ask once it has ended."""
        assert self.process.returncode is not None
        return self.process.returncode

    @property
    def epochs(self) -> list[tuple[float, str]]:
        """When which epoch of which training was told."""
        found = [(at, EPOCH.search(line)) for at, line in list(self.lines)]
        return [(at, f"{match['training']} {match['epoch']}") for at, match in found if match]

    @property
    def silent_for(self) -> float:
        """Seconds since its last line."""
        return time.time() - self.lines[-1][0] if self.lines else 0.0

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.ends_within(30)
