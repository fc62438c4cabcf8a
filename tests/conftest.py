"""What the tests share: one embedded Ray for the whole run, and small studies on real weights and real images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: tiny tensors only lose by more
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray 2.60 warns about the coming default

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


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    """A study that takes seconds, its storage in `tmp_path`."""
    file = tmp_path / "tiny.yaml"
    file.write_text(STUDY.format(storage=tmp_path / "results"))
    return file


@pytest.fixture(scope="session")
def embedded_ray() -> Iterator[None]:
    """The one Ray of the test run."""
    import ray

    ray.init(address="local", num_cpus=4, include_dashboard=True, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def rng() -> np.random.Generator:
    """For inputs whose values do not matter."""
    return np.random.default_rng(0)
