"""What the tests share: one embedded Ray for the whole run, and small studies on real weights and real images."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fsspec
import hypothesis
import numpy as np
import pytest

from lion_ray.store import Store

hypothesis.settings.register_profile("busy machine", deadline=None)  # a loaded core is no failure
hypothesis.settings.load_profile("busy machine")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tiny tensors only lose by more
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray 2.60 warns about the coming default

os.environ["LION_RAY_CACHE"] = tempfile.mkdtemp(prefix="lion-ray-tests-")  # what is remembered, not below HOME
atexit.register(shutil.rmtree, os.environ["LION_RAY_CACHE"], ignore_errors=True)

SECRET = "planted/Secret+9f3c1b7a"  # a test looks for it in everything a run leaves behind
STUDY = """
study: tiny
storage: {storage}
backbone: {{name: tf_efficientnet_lite0, weights: package, image_size: 32}}
datasets:
  - {{name: mnist, num_train: 48, num_val: 24, num_test: 24}}
methods: [linear, lion]
train: {{epochs: 2, batch_size: 16}}
lottery: {{rounds: 3, prune: 0.5}}
"""

SMALL_VIT = "{name: test_vit, weights: random, image_size: 32}"
SMALL_CONVNET = "{name: test_resnet, weights: random, image_size: 32}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--storage gs://bucket/prefix`: the store's contract is tested there, with the credentials of this machine."""
    parser.addoption("--storage", metavar="URL", help="test the store's contract below this URL and nowhere else")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For `-n 2`: one process has all files with tests of the embedded Ray, so that there is one; any has each other.

    The groups of xdist's own `--dist loadgroup` are lost under pytest 9.2, so these are told by the files.
    """
    from xdist.scheduler import LoadScopeScheduling

    class OneProcessForRay(LoadScopeScheduling):  # type: ignore[misc]
        """Sends whole files, all those of the embedded Ray as one."""

        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "embedded Ray" if _uses_embedded_ray(config.rootpath / file) else file

    config.option.loadscopereorder = False  # the order of `pytest_collection_modifyitems`
    return OneProcessForRay(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests of the embedded Ray come first: together they take the longest."""
    items.sort(key=lambda item: not _uses_embedded_ray(item.path))


@functools.cache
def _uses_embedded_ray(file: Path) -> bool:
    return "embedded_ray" in file.read_text()


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study that takes seconds, its storage in `tmp_path`."""
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY.format(storage=tmp_path / "results"))
    return file


@pytest.fixture(scope="session")
def every_method(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Store]:
    """For each method a store with two rounds of it and, where it prunes, a control; read only.

    Those that train something in the backbone do it in miniatures: a ViT where a ConvNet has no place for them.
    """
    from lion_ray.methods import METHODS
    from tests.support.small_runs import experiment, run

    stores, settings = {}, ("lottery.rounds=2", "lottery.controls=[random_ticket]")
    for method in METHODS:
        folder = tmp_path_factory.mktemp(method)
        file = folder / "tiny.yaml"
        file.write_text(STUDY.format(storage=folder / "results"))
        stores[method] = Store(str(folder / "store"))
        small = SMALL_VIT if method in ("vpt_shallow", "vpt_deep", "adapter", "lora") else SMALL_CONVNET
        on = [] if method in ("linear", "lion") else [f"backbone={small}"]
        run(experiment(file, f"methods=[{method}]", *settings, *on), stores[method])
    return stores


@pytest.fixture(scope="session")
def embedded_ray(s3_server: str) -> Iterator[None]:
    """The one Ray of the test run; its workers inherit the environment that names the S3 server."""
    import ray

    from lion_ray.sweep import cluster

    cluster.start(num_cpus=4, include_dashboard=True)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of a real S3 server process on loopback; it and its buckets end with the test run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not _answers(port):
        assert server.poll() is None, "the S3 server ended"
        assert time.monotonic() < deadline, "the S3 server does not answer"
        time.sleep(0.1)
    where = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= where | {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": SECRET}  # as on a user's node
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def s3_url(s3_server: str) -> str:
    """A fresh bucket on the server that the environment names."""
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}"


@pytest.fixture
def rng() -> np.random.Generator:
    """For inputs whose values do not matter."""
    return np.random.default_rng(0)
