"""The files in `cluster/`: valid for Ray, one version everywhere, token authentication, no secret in any of them.

`.ci/run` also holds the KubeRay manifests against KubeRay's own schemas.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from cluster import two_nodes
from lion_ray.sweep import cluster
from lion_ray.sweep.capacity import Resources

FOLDER = Path(__file__).parent.parent.parent / "cluster"
RAY_UP = ["aws.yaml", "gcp.yaml", "on_premise.yaml"]
KUBERAY = ["kuberay_cluster.yaml", "kuberay_job.yaml"]
FILES = sorted(file for file in FOLDER.iterdir() if file.is_file())


def load(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def cluster_spec(name: str) -> Any:
    spec = load(name)["spec"]
    return spec.get("rayClusterSpec", spec)


def pods(name: str) -> list[Any]:
    """The pod specs of a manifest, the head's first."""
    spec = cluster_spec(name)
    return [group["template"]["spec"] for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])]


def promised(environment: str) -> Resources:
    """What `LION_RAY_AUTOSCALES_TO=...` says, read by the code that reads it on the cluster."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(cluster.AUTOSCALES_TO, environment)
        ((total, count),) = cluster.promised()
    assert count == 1
    return total


@pytest.mark.parametrize("name", RAY_UP)
def test_ray_up_accepts_the_file(name: str) -> None:
    validate_config(prepare_config(load(name)))


@pytest.mark.parametrize("name", RAY_UP)
def test_nodes_of_ray_up_ask_for_the_token_and_show_the_dashboard_to_nobody(name: str) -> None:
    config = load(name)
    tokens = [target for target, source in config["file_mounts"].items() if source == "~/.ray/auth_token"]
    assert [target.endswith("/.ray/auth_token") for target in tokens] == [True]
    for kind in ("head", "worker"):
        start = config[f"{kind}_start_ray_commands"][-1]
        options = " ".join(config.get("docker", {}).get("run_options", []))
        assert "RAY_AUTH_MODE=token" in start + options
    assert "--dashboard-host=127.0.0.1" in config["head_start_ray_commands"][-1]


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_clouds_have_spot_workers_an_on_demand_head_and_tell_how_far_they_grow(name: str) -> None:
    config = load(name)
    head, worker = (config["available_node_types"][kind] for kind in ("head", "gpu_spot"))
    for word in ("spot", "preemptible"):
        assert word not in str(head)
    assert "spot" in str(worker["node_config"]) or "'preemptible': True" in str(worker["node_config"])
    full = {kind: amount * worker["max_workers"] for kind, amount in worker["resources"].items()}
    options = " ".join(config["docker"]["head_run_options"])
    assert promised(options.split(f"{cluster.AUTOSCALES_TO}=")[1]) == full
    assert head["resources"] == {"CPU": 0}
    assert config["max_workers"] == worker["max_workers"]


@pytest.mark.parametrize("name", KUBERAY)
def test_a_manifest_has_gpus_shared_memory_token_and_secrets_from_kubernetes(name: str) -> None:
    spec = cluster_spec(name)
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    head, worker = pods(name)
    for pod in (head, worker):
        container = pod["containers"][0]
        assert container["envFrom"] == [{"secretRef": {"name": "lion-ray-storage"}}]
        assert {"name": "shared-memory", "mountPath": "/dev/shm"} in container["volumeMounts"]
        volume = next(each for each in pod["volumes"] if each["name"] == "shared-memory")
        assert volume["emptyDir"]["medium"] == "Memory"
        assert {mount["name"] for mount in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
    ports = {port["name"]: port["containerPort"] for port in head["containers"][0]["ports"]}
    assert ports == {"gcs-server": 6379, "dashboard": 8265, "client": 10001, "metrics": 8080}
    limits = worker["containers"][0]["resources"]["limits"]
    workers = spec["workerGroupSpecs"][0]["maxReplicas"]
    environment = {each["name"]: each["value"] for each in head["containers"][0]["env"]}
    full = {"CPU": workers * float(limits["cpu"]), "GPU": workers * float(limits["nvidia.com/gpu"])}
    assert promised(environment[cluster.AUTOSCALES_TO]) == full


def test_the_standing_head_survives_in_redis_and_the_job_in_the_storage() -> None:
    redis = cluster_spec("kuberay_cluster.yaml")["gcsFaultToleranceOptions"]
    assert redis["redisAddress"]
    assert redis["redisPassword"]["valueFrom"]["secretKeyRef"]
    job = load("kuberay_job.yaml")["spec"]
    assert job["backoffLimit"] > 0
    assert "runtimeEnvYAML" not in job  # Ray logs its variables: no place for credentials


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_one_ray_one_image_no_secret_and_no_machine_of_ours(file: Path) -> None:
    text = file.read_text()
    assert set(re.findall(r"\b2\.\d{2}\.\d\b", text)) <= {ray.__version__}
    assert set(re.findall(r"lion-ray:[\w.]+", text)) <= {f"lion-ray:ray{ray.__version__}"}
    assert not re.search(
        r"AKIA|BEGIN [A-Z ]*PRIVATE KEY|[0-9a-f]{40}|(SECRET|TOKEN|password)\w*[=:] *[\"']?\w{12}", text
    )
    assert not re.search(r"/(work|root|tmp/w)/", text)


@pytest.mark.parametrize("name", [*RAY_UP, *KUBERAY, "two_nodes.py", "Dockerfile"])
def test_each_file_says_how_it_is_used(name: str) -> None:
    header = (FOLDER / name).read_text().split("\n\n\n")[0]
    words = ["build:", "push:"] if name == "Dockerfile" else ["submit:", "watch:", "results:", "tear down:"]
    assert all(word in header for word in words)


def test_every_file_is_in_the_runbook_and_every_file_of_the_runbook_exists() -> None:
    named = set(re.findall(r"`(?:cluster/)?(\w+\.(?:yaml|py)|Dockerfile)`", (FOLDER / "README.md").read_text()))
    there = {file.name for file in FILES} - {"README.md", "Dockerfile.dockerignore"}
    assert there <= named
    assert {
        name for name in named if (FOLDER.parent / "pipelines" / name).exists() or name == "study.yaml"
    } | there == named


def test_the_image_is_clean_to_hadolint() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_two_nodes_leave_a_folder_alone_whose_cluster_runs(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("its environment")
    holder = two_nodes.locked(tmp_path)
    command = [sys.executable, str(FOLDER / "two_nodes.py"), str(tmp_path)]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    os.close(holder)
    assert refused.returncode == 1
    assert refused.stderr == f"a cluster runs in {tmp_path} already: end it, or name another folder\n"
    assert (tmp_path / "env").read_text() == "its environment"


def test_two_nodes_name_the_environment_that_they_need(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    code = f"import sys; sys.executable = {str(python)!r}; sys.argv[1:] = [{str(tmp_path / 'two')!r}]"
    run = f"{code}; sys.path[:0] = [{str(FOLDER.parent)!r}]; from cluster import two_nodes; two_nodes.main()"
    refused = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=False)
    assert (
        refused.stderr
        == f"there is no {tmp_path}/ray: run this script with the Python of an environment that has Ray\n"
    )


def test_the_extras_that_nodes_install_are_there() -> None:
    """pip only warns of one that is not."""
    asked = {
        extra
        for file in FILES
        for found in re.findall(r"lion_ray(?:_source)?\[([\w,]+)\]", file.read_text())
        for extra in found.split(",")
    }
    assert asked == {"demo", "gcs"}
    assert asked <= set(metadata("lion-ray").get_all("Provides-Extra") or [])
