"""Ray's own commands against a cluster whose folder holds `env`, as `cluster/two_nodes.py` writes it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lion_ray.store import Store

ROOT = Path(__file__).parent.parent.parent
RAY = str(Path(sys.executable).parent / "ray")
PATIENCE_SECONDS = 180.0  # another study may be running on this machine


def processes(part: str) -> dict[int, str]:
    """The commands, by process, that have `part` in them."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(file.parent.name)] = file.read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return {pid: command for pid, command in found.items() if part in command}


def environments(part: str) -> dict[int, str]:
    """The commands, by process, whose environment has `part` in it: whatever they and theirs have started."""
    found = {}
    for pid, command in processes("").items():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if part.encode() in environment:
            found[pid] = command
    return found


def ray_command(cluster: Path, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """One of Ray's commands, as typed after `. env`."""
    variables = dict(re.findall(r"export (\w+)=(.*)", (cluster / "env").read_text()))
    clean = {name: value for name, value in os.environ.items() if name not in {"RAY_ADDRESS", "PYTHONPATH"}}
    environment = clean | variables | changed
    return subprocess.run([RAY, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def submit(cluster: Path, *settings: str, options: Sequence[str] = ("--working-dir", ".")) -> tuple[str, int]:
    """The id of a new job that runs the smoke study, and the exit status of `ray job submit`."""
    pipeline = [
        "python",
        "-m",
        "lion_ray.pipeline",
        "pipelines/smoke.yaml" if "--working-dir" in options else "smoke.yaml",
    ]
    overrides = [part for each in settings for part in ("--set", each)]
    done = ray_command(cluster, "job", "submit", *options, "--", *pipeline, *overrides)
    found = re.search(r"raysubmit_\w+", done.stdout)
    assert found, done.stdout + done.stderr
    return found[0], done.returncode


def log(cluster: Path, name: str) -> list[str]:
    """What the job has printed, line by line."""
    return (cluster / f"head/session_latest/logs/job-driver-{name}.log").read_text().splitlines()


def wait_for(store: Store, round_key: str) -> None:
    """Until one of the study's experiments has that round."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not any(key.endswith(round_key) for key in store.committed()):
        assert time.monotonic() < deadline, "the job does not come to its first round"
        time.sleep(0.1)
