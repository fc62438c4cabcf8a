"""An autoscaling cluster whose first worker node is killed, as a spot node is: from no worker to the study's end.

python -m pytest -m slow -s tests/faults/test_spot.py

Ray's own stand-in for a cloud provider starts and stops nodes on this machine.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray.util
import yaml

from lion_ray.store import Store
from tests.support.jobs import RAY, ROOT, log, processes, ray_command, submit, wait_for

PORT, DASHBOARD = 21379, 21265
ROUNDS = 12


def configuration() -> str:
    lists = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    provider = {
        "type": "fake_multinode",
        "gcs_address": f"{ray.util.get_node_ip_address()}:{PORT}",
        **dict.fromkeys(("disable_node_updaters", "disable_launch_config_check", "foreground_node_launch"), True),
    }
    head = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    resources = {"CPU": 1, "object_store_memory": 10**8}
    worker = {"resources": resources, "node_config": {}, "min_workers": 0, "max_workers": 2}
    return yaml.safe_dump(
        {
            "cluster_name": "spot",
            "max_workers": 2,
            "upscaling_speed": 1.0,
            "idle_timeout_minutes": 1,
            "provider": provider,
            "available_node_types": {"ray.head.default": head, "worker": worker},
            "head_node_type": "ray.head.default",
            **{key: {} for key in ("auth", "docker", "file_mounts")},
            **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
            "file_mounts_sync_continuously": False,
            **{f"{name}_commands": [] for name in lists},
        }
    )


@pytest.fixture
def autoscaling() -> Iterator[Path]:
    """The folder of a cluster without any CPU that may grow to two nodes with one each."""
    with tempfile.TemporaryDirectory(prefix="spot") as name:
        folder = Path(name)
        (folder / "cluster.yaml").write_text(configuration())
        (folder / "token").write_text(secrets.token_hex(32))
        client = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": f"{folder}/token",
            "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{DASHBOARD}",
        }
        (folder / "env").write_text("".join(f"export {key}={value}\n" for key, value in client.items()))
        node = {
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_memory_monitor_refresh_ms": "0",
            "LION_RAY_AUTOSCALES_TO": "CPU=2",
            "PYTHONPATH": str(
                ROOT
            ),  # nodes of the stand-in share one folder, where a sent working folder would be spoilt
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        clean = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        command = [RAY, "start", "--head", "--block", "--num-cpus=0", f"--temp-dir={folder}/head", f"--port={PORT}"]
        command += [f"--dashboard-port={DASHBOARD}", "--dashboard-agent-listen-port=21366", "--disable-usage-stats"]
        command += ["--ray-client-server-port=21001", f"--autoscaling-config={folder}/cluster.yaml"]
        head = subprocess.Popen(command, env=clean | client | node, stdout=subprocess.PIPE, text=True)
        assert head.stdout is not None
        assert any("Ray runtime started" in line for line in head.stdout)
        yield folder
        head.terminate()
        head.wait(timeout=60)
        head.stdout.close()
        for pid in processes(str(folder)):  # the stand-in leaves its nodes behind
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_study_starts_without_a_worker_and_survives_the_loss_of_its_first(autoscaling: Path, tmp_path: Path) -> None:
    settings = [f"storage={tmp_path}", f"lottery.rounds={ROUNDS}", "lottery.prune=0.1"]
    store = Store(f"{tmp_path}/smoke")
    job, _ = submit(autoscaling, *settings, options=["--no-wait"])
    wait_for(store, "round-1")
    raylets = [pid for pid, command in processes(f"{autoscaling}/head").items() if "raylet/raylet" in command]
    assert len(raylets) > 1
    os.kill(max(raylets), signal.SIGKILL)  # the head's came first
    ray_command(autoscaling, "job", "logs", "--follow", job)
    lines = log(autoscaling, job)
    assert any(line.startswith("waiting: 0 of 1 workers with 1 CPU fit") for line in lines)
    assert lines[-1] == "exit status 0"
    assert "\x1b" not in "".join(lines)
    assert len(list(tmp_path.glob("smoke/experiments/*/round-*/DONE"))) == 2 * (1 + ROUNDS)
