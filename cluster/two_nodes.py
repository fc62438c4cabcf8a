#!/usr/bin/env python3
"""Two Ray nodes on this machine, with token authentication and free ports: the cluster to try things on.

launch:     python cluster/two_nodes.py /tmp/two   (stays in the foreground; says when both nodes are up; takes the Ray
                                                   beside this Python)
            . /tmp/two/env                         (in another shell: where the cluster is, its token, and Ray's PATH)
submit:     ray job submit --working-dir . -- python -m lion_ray.pipeline pipelines/smoke.yaml --set storage=/tmp/lion
watch:      ray job list; ray job logs --follow JOB; the dashboard at $RAY_API_SERVER_ADDRESS asks for /tmp/two/token
results:    /tmp/lion/smoke/results.parquet; lion-ray tickets /tmp/lion/smoke
tear down:  Ctrl-C, or SIGTERM to the script: it ends what it has started and nothing else (`ray stop` ends every Ray)
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import functools
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar

HOST = "127.0.0.1"
START_SECONDS = 120
STOP_SECONDS = 20
ATTEMPTS = 3  # Ray gives its own parts 30 s each and ends when one of them needs longer
PORTS = range(20_000, 32_000)  # between those of Ray's workers and those that Linux gives to outgoing connections
PORTS_OF_A_NODE = (
    "node-manager", "object-manager", "dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent",
    "metrics-export",
)  # fmt: skip

Args = ParamSpec("Args")
Result = TypeVar("Result")


class NodeError(RuntimeError):
    """A node did not come up; the message has the end of its log."""


def tried_again(start: Callable[Args, Result]) -> Callable[Args, Result]:
    """`start`, up to `ATTEMPTS` times, each time on other ports; says why on the error stream."""

    @functools.wraps(start)
    def persistent(*args: Args.args, **kwargs: Args.kwargs) -> Result:
        for _ in range(ATTEMPTS - 1):
            try:
                return start(*args, **kwargs)
            except NodeError as error:
                print(f"{error}\nonce more, on other ports", file=sys.stderr, flush=True)
        return start(*args, **kwargs)

    return persistent


def main() -> int:
    """Start, wait for the end, stop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="short (a socket's path is at most 107 bytes); the script makes it")
    parser.add_argument("--cpus", type=int, default=1, help="per node")
    options = parser.parse_args()
    if not ray_command().exists():
        sys.exit(f"there is no {ray_command()}: run this script with the Python of an environment that has Ray")
    options.folder.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with (
        _said_in_words(),
        contextlib.suppress(KeyboardInterrupt),
        two_nodes(options.folder.resolve(), options.cpus) as nodes,
    ):
        print(f"two nodes are up: . {options.folder}/env", flush=True)
        while all(node.poll() is None for node in nodes):
            time.sleep(0.2)
        print(f"a node has ended; see {options.folder}/*.log", file=sys.stderr)
        return 1
    return 0


@contextlib.contextmanager
def _said_in_words() -> Iterator[None]:
    try:
        yield
    except NodeError as error:
        sys.exit(str(error))


@contextlib.contextmanager
def two_nodes(folder: Path, cpus: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Both `ray start --block` processes; they and all that they have started are gone at the end."""
    nodes: list[subprocess.Popen[bytes]] = []
    lock = locked(folder)
    try:
        head, address, environment = start_head(folder, cpus)
        nodes.append(head)
        nodes.append(start_worker(folder, cpus, address, environment))
        yield nodes
    finally:
        for node in reversed(nodes):
            stop(node)
        os.close(lock)


def locked(folder: Path) -> int:
    """A lock on `folder` that the nodes inherit: it is held as long as one of them lives."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(lock, True)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NodeError(f"a cluster runs in {folder} already: end it, or name another folder") from None
    return lock


@tried_again
def start_head(folder: Path, cpus: int, *options: str) -> tuple[subprocess.Popen[bytes], str, dict[str, str]]:
    """The first node, its address, and the environment that the others and clients need; `options` are Ray's own."""
    gcs, dashboard, client = free_ports(3)
    environment = write_environment(folder, dashboard)
    own = ["--head", "--port", str(gcs), "--dashboard-host", HOST, "--dashboard-port", str(dashboard)]
    own += ["--ray-client-server-port", str(client), *options]
    return (
        start(node_command(folder, "head", cpus, own), folder / "head.log", environment),
        f"{HOST}:{gcs}",
        environment,
    )


@tried_again
def start_worker(folder: Path, cpus: int, address: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The second node, which joins the one at `address`."""
    command = node_command(folder, "worker", cpus, ["--address", address])
    return start(command, folder / "worker.log", environment)


def node_command(folder: Path, name: str, cpus: int, own: list[str]) -> list[str]:
    """`ray start` in the foreground, on ports and in a folder of its own (nodes that share one spoil job folders)."""
    common = ["--block", "--node-ip-address", HOST, "--num-cpus", str(cpus), "--object-store-memory", str(200 * 2**20)]
    common += ["--disable-usage-stats", "--temp-dir", str(folder / name)]
    ports = zip(PORTS_OF_A_NODE, free_ports(len(PORTS_OF_A_NODE)), strict=True)
    return [
        str(ray_command()),
        "start",
        *own,
        *common,
        *(part for name, port in ports for part in (f"--{name}-port", str(port))),
    ]


def ray_command() -> Path:
    """Ray's own command, beside this Python, whatever PATH says."""
    return Path(sys.executable).parent / "ray"


def write_environment(folder: Path, dashboard: int) -> dict[str, str]:
    """A token nobody else can read, and the variables that nodes and clients need; returns the nodes' environment."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_API_SERVER_ADDRESS": f"http://{HOST}:{dashboard}",
    }
    lines = [f"export {name}={value}\n" for name, value in variables.items()]
    (folder / "env").write_text("".join(lines) + f'PATH="{ray_command().parent}:$PATH"\n')
    path = f"{ray_command().parent}{os.pathsep}{os.environ['PATH']}"  # jobs find this Python
    return {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"} | variables | {"PATH": path}


def start(command: list[str], log: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """A node that says it is up, in a process group of its own, so that Ctrl-C reaches this script only."""
    with log.open("wb") as out:
        node = subprocess.Popen(
            command, stdout=out, stderr=out, env=environment, start_new_session=True, close_fds=False
        )
    deadline = time.monotonic() + START_SECONDS
    while b"Ray runtime started" not in log.read_bytes():
        if node.poll() is not None or time.monotonic() > deadline:
            stop(node)
            raise NodeError(f"no node: the end of {log}:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
    return node


def stop(node: subprocess.Popen[bytes]) -> None:
    """SIGTERM makes `ray start --block` end its own processes; SIGKILL to the group is for one that does not."""
    node.terminate()
    try:
        node.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def free_ports(number: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    found: list[int] = []
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as each, contextlib.suppress(OSError):
            each.bind((HOST, port))
            found.append(port)
        if len(found) == number:
            return found
    raise NodeError(f"fewer than {number} ports of {PORTS} are free")


if __name__ == "__main__":
    sys.exit(main())
