"""What a fault campaign plays on: an S3 server, the proxy before it and a cluster of two raylets, each its own process.

Whatever they start carries `MARK` in its environment, so it is found whoever its parent is, also when that has died.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
from s3fs import S3FileSystem

from cluster import two_nodes
from tests.faults.driver import Driver

MARK = "LION_RAY_FAULTS"
ROOT = Path(__file__).parent.parent.parent
BUCKET = "campaign"
TITLES = {"trial": r"ray::ImplicitFunc", "worker": r"ray::RayTrainWorker"}
RAYLETS = {"raylet": "worker", "node": "worker", "head": "head"}  # a `node` does not come back
END_SECONDS = 60.0


class Stage:
    """Everything in `folder`, temporary files included, so that what is left behind can be seen."""

    def __init__(self, folder: Path, *, dashboard: bool = True) -> None:
        self._without = [] if dashboard else ["--include-dashboard", "false"]
        self.folder, self.temporary, self.log = folder, folder / "tmp", folder / "answers.log"
        self.id = secrets.token_hex(8)
        self.s3_port, self.proxy_port = two_nodes.free_ports(2)
        self._servers: list[subprocess.Popen[bytes]] = []
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment: dict[str, str] = {}

    def __enter__(self) -> Stage:
        self.temporary.mkdir(parents=True)
        self._environment_before = dict(os.environ)
        os.environ |= self._shared()
        S3FileSystem.clear_instance_cache()  # one that was made before speaks to another server
        os.environ.pop("RAY_ADDRESS", None)
        moto = [sys.executable, "-m", "moto.server", "-H", two_nodes.HOST, "-p", str(self.s3_port)]
        self._servers.append(subprocess.Popen(moto, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        self.start_proxy()
        try:
            self.start_cluster()
        except BaseException as error:
            self.__exit__(error)
            raise
        return self

    def __exit__(self, interrupted: object, *_: object) -> None:
        for pid in self.processes() if interrupted else ():
            kill(pid)
        self.stop_cluster()
        for server in [*self._servers, self.proxy]:
            server.kill()
            server.wait()
        os.environ.clear()
        os.environ |= self._environment_before
        S3FileSystem.clear_instance_cache()

    def _shared(self) -> dict[str, str]:
        """What the driver and all nodes have in their environment."""
        s3 = {"AWS_ENDPOINT_URL": f"http://{two_nodes.HOST}:{self.proxy_port}", "AWS_DEFAULT_REGION": "us-east-1"}
        login = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        own = {MARK: self.id, "SPT_NOENV": "1", "TMPDIR": str(self.temporary), "PYTHONPATH": str(ROOT)}
        quiet = {"RAY_memory_monitor_refresh_ms": "0", "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
        return s3 | login | own | quiet

    def start_proxy(self) -> None:
        """On the same port every time."""
        target, port = f"http://{two_nodes.HOST}:{self.s3_port}", str(self.proxy_port)
        command = [sys.executable, "-m", "tests.faults.logged_proxy", target, port, str(self.log)]
        self.proxy = subprocess.Popen(command, cwd=ROOT)

    def start_cluster(self) -> None:
        """Both nodes, on fresh ports."""
        self.nodes["head"], self.address, self.environment = two_nodes.start_head(self.folder, 1, *self._without)
        self.start_second_node()

    def start_second_node(self) -> None:
        self.nodes["worker"] = two_nodes.start_worker(self.folder, 1, self.address, self.environment)

    def stop_cluster(self) -> None:
        for name in ("worker", "head"):
            if name in self.nodes:
                two_nodes.stop(self.nodes.pop(name))

    def drive(self, *settings: str) -> Driver:
        """The command of the campaign, started."""
        overrides = [part for each in settings for part in ("--set", each)]
        command = [sys.executable, "-m", "lion_ray.pipeline", str(ROOT / "pipelines/smoke.yaml"), *overrides]
        return Driver(command, self.environment | {"RAY_ADDRESS": self.address}, self.folder / "driver.log")

    def processes(self) -> dict[int, str]:
        """The command of every living process that carries the mark."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.id}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
        return {pid: command for pid, command in found.items() if pid != os.getpid() and command}

    def find(self, target: str) -> list[int]:
        """The processes that a kill of `target` may hit; for `driver` and `proxy` ask their owner."""
        if target == "proxy":
            return [self.proxy.pid]
        if target == "node" and "worker" not in self.nodes_with_trials():
            return []  # it does not come back: without a trial on it its end would prove little
        if target in RAYLETS:
            sign = f"--raylet_socket_name={self.folder / RAYLETS[target]}/"
            return [pid for pid, command in self.processes().items() if "raylet/raylet" in command and sign in command]
        return [pid for pid, command in self.processes().items() if re.match(TITLES[target], command)]

    def nodes_with_trials(self) -> set[str]:
        """The nodes on which trials have run: each node logs in a folder of its own."""
        logs = {name: self.folder.glob(f"{name}/session_2*/logs/worker-*.out") for name in ("head", "worker")}
        return {
            name for name, files in logs.items() for file in files if ":actor_name:train_interval" in file.read_text()
        }

    def mend(self, target: str, pause: float) -> None:
        """Bring back, after a pause, what Ray does not bring back by itself."""
        if target == "proxy":
            self.proxy.wait()
            time.sleep(pause)
            self.start_proxy()
        elif target in ("node", "raylet"):
            self._await_end("worker")
        if target == "raylet":
            time.sleep(pause)
            self.start_second_node()

    def restart_cluster(self) -> None:
        """After the head has gone, once its driver has ended."""
        self.stop_cluster()
        self.start_cluster()

    def _await_end(self, name: str) -> None:
        """`ray start --block` ends, with what it has started, when one of its processes is gone."""
        node = self.nodes.pop(name)
        try:
            node.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            two_nodes.stop(node)

    def leftovers(self) -> tuple[list[str], list[str]]:
        """Processes and temporary files that are still there, once everything was stopped."""
        deadline = time.monotonic() + END_SECONDS / 2
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.5)
        rays_own = (
            r"pymp-.*|torchinductor_.*"  # its dashboard's, an empty folder of torch's: undisturbed runs leave them
        )
        kept = rf"lion_ray-{os.getuid()}"  # a node's copies, for the next study as well
        files = [file.name for file in self.temporary.iterdir() if not re.fullmatch(f"{rays_own}|{kept}", file.name)]
        return list(self.processes().values()), files


@contextlib.contextmanager
def stage(folder: Path, *, dashboard: bool = True) -> Iterator[Stage]:
    """A stage in an empty `folder`; the environment of this process is as before, afterwards.

    Args:
        dashboard: of the cluster; its processes cost more than the rest of it.
    """
    before = dict(os.environ)
    try:
        with Stage(folder, dashboard=dashboard) as made:
            yield made
    finally:
        os.environ.clear()
        os.environ.update(before)
        fsspec.get_filesystem_class("s3").clear_instance_cache()  # its instances still talk to this stage's proxy
        shutil.rmtree(folder / "head", ignore_errors=True)
        shutil.rmtree(folder / "worker", ignore_errors=True)


def kill(pid: int) -> None:
    """SIGKILL."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
