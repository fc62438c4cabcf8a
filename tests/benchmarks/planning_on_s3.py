"""How long a finished study of 10,000 experiments takes to be planned and resumed on S3: synthetic, on moto.

python -m tests.benchmarks.planning_on_s3 [--experiments 10000] [--rounds 1]

Prints seconds of every part; the goal of the whole is 10 s. The index is written by the code that a sweep ends with and
holds one real experiment's rows again and again. The artifacts themselves are left out: of a study of this size (3,000
experiments at least) nobody lists or reads those of finished experiments; `tests/study/test_damage.py` holds that.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import fsspec

from lion_ray import backbones, config
from lion_ray.experiments import Experiment, expand
from lion_ray.store import Store
from lion_ray.study import index
from lion_ray.study.plan import make_plan
from lion_ray.study.rounds import FoundRounds, read_found
from lion_ray.sweep import driver
from tests.support.small_runs import run

BUCKET = "huge-bucket"
STUDY = """
study: huge
storage: {storage}
backbone: {{name: tf_efficientnet_lite0, weights: package, image_size: 32}}
datasets:
  - {{name: mnist, num_train: 48, num_val: 24, num_test: 24}}
methods: [lion]
seeds: [{seeds}]
train: {{epochs: 2, batch_size: 16}}
lottery: {{rounds: {rounds}, prune: 0.5}}
"""


@contextmanager
def server() -> Iterator[None]:
    """moto in a process of its own on loopback, named by the environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.2)
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir(BUCKET)
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.1f} s", flush=True)


def cpu_of_children() -> float:
    """User and system seconds of the processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def write_index(store: Store, template: FoundRounds, experiments: list[Experiment]) -> None:
    """As a sweep that has just ended would leave it."""
    names = [each.name for each in experiments]
    first, text, found = experiments[0].name, json.dumps(template.rounds), {}
    for name in names:
        rounds = tuple(json.loads(text.replace(first, name)))
        found[name] = dataclasses.replace(template, rounds=rounds)
    with timed("writing the index"):
        index.compact(store, found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "huge.yaml"
        seeds = ", ".join(map(str, range(options.experiments)))
        file.write_text(STUDY.format(storage=f"s3://{BUCKET}/p", seeds=seeds, rounds=options.rounds))
        study = config.load(file, [])
        with timed("expanding the study"):
            experiments = expand(study)
        made, first = Store(str(folder / "made")), experiments[0].name
        run(experiments[0], made)
        template = read_found(made, first, made.listing(f"experiments/{first}"))
        says = f"{options.experiments * options.rounds} rounds are done, 0 experiments"
        with server():
            measure(file, study, experiments, template, says)


def measure(file: Path, study: config.Study, experiments: list[Experiment], template: FoundRounds, says: str) -> None:
    """Planning alone, then whole processes."""
    store = driver.open_store(study, source="huge")
    backbones.stage(backbones.resolve(study.backbone, store), store)
    write_index(store, template, experiments)
    with timed("PLAN in this process"):
        assert not make_plan(experiments, store).pending
    command = [sys.executable, "-m", "lion_ray.pipeline", str(file)]
    for what, arguments in (("--dry-run", ["--dry-run"]), ("the same command again", [])):
        cpu = cpu_of_children()
        with timed(f"WHOLE PROCESS, {what}"):
            done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
        print(f"  of it {cpu_of_children() - cpu:.1f} s of its CPU", flush=True)
        assert done.returncode == 0, done.stderr
        assert says in done.stdout


if __name__ == "__main__":
    main()
