"""The fault campaign in short, on two raylets with S3: killed is what matters, and everything is as if nothing was.

The long one: python -m tests.faults.campaign --kills 100 --seed 0
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from lion_ray import config
from lion_ray.experiments import expand
from lion_ray.results import round_key
from lion_ray.store import Store
from tests.faults import evidence
from tests.faults.campaign import MNIST, Play
from tests.faults.driver import Driver
from tests.faults.stage import BUCKET, ROOT, Stage, kill, stage
from tests.helpers import run

ROUNDS = ["train.epochs=8", "lottery.rounds=4"]
ELASTIC = ["methods=[lion]", f"datasets=[{MNIST}]", "resources.workers={min: 1, max: 2}"]
PATIENCE_SECONDS = 300.0


@pytest.fixture
def two_raylets() -> Iterator[Stage]:
    """A stage whose processes and files are all gone once it was left."""
    with tempfile.TemporaryDirectory(prefix="faults", dir="/tmp") as folder:
        with stage(Path(folder) / "x") as made:
            fsspec.filesystem("s3", skip_instance_cache=True).mkdir(BUCKET)
            yield made
        assert made.leftovers() == ([], [])


@pytest.mark.slow
def test_kills_of_trial_driver_raylet_and_proxy_change_no_bit_and_train_no_finished_round_again(
    two_raylets: Stage, tmp_path: Path
) -> None:
    targets = ["proxy", "trial", "driver", "raylet"]
    record = Play(two_raylets, "0", ROUNDS, targets, "0", moments=(0.5, 2.0)).run()
    assert [each["target"] for each in record["kills"]] == targets
    assert [each["status"] for each in record["kills"][:3]] == [None, None, -9]  # only its own kill ends a driver
    assert record["hangs"] == 0
    assert record["begun_after_done"] == record["done_twice"] == record["remains"] == []
    store, undisturbed = Store(f"{record['url']}/smoke"), Store(str(tmp_path))
    experiments = expand(config.load(ROOT / "pipelines/smoke.yaml", ROUNDS))
    for each in experiments:
        run(each, undisturbed)
    assert evidence.differences(store, undisturbed) == []
    assert nodes_of(two_raylets, store, [round_key(each.name, 0) for each in experiments]) == {"head", "worker"}


def nodes_of(stage: Stage, store: Store, keys: list[str]) -> set[str]:
    """The nodes whose processes have trained these rounds: each node logs in a folder of its own."""
    pids = [json.loads((store.load(key) or {})["clock.json"])["pid"] for key in keys]
    logs = {name: str(list(stage.folder.glob(f"{name}/session_2*/logs/worker-*.err"))) for name in ("head", "worker")}
    return {name for name, files in logs.items() for pid in pids if f"-{pid}.err" in files}


@pytest.mark.slow
def test_an_elastic_experiment_goes_on_with_one_worker_when_its_second_node_dies(two_raylets: Stage) -> None:
    driver = two_raylets.drive(f"storage=s3://{BUCKET}/elastic", *ROUNDS, *ELASTIC)
    store = Store(f"s3://{BUCKET}/elastic/smoke")
    wait_for_epochs(driver, 10)  # in the middle of round 1
    assert len(two_raylets.find("worker")) == 2
    kill(two_raylets.find("raylet")[0])
    killed = time.time()
    assert driver.ends_within(PATIENCE_SECONDS)
    assert driver.status == 0
    after = [at - killed for at, _ in driver.epochs if at > killed]
    name = next(key for key in store.committed() if key.endswith("/round-3")).rpartition("/")[0].rpartition("/")[2]
    teams = [workers_of(store, round_key(name, number)) for number in range(4)]
    print(f"workers per round: {teams}; the next epoch came {after[0]:.1f} s after the kill")
    assert teams[0] == 2
    assert teams[-1] == 1


def wait_for_epochs(driver: Driver, number: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(driver.epochs) < number:
        assert time.monotonic() < deadline
        assert not driver.ends_within(0.05)


def workers_of(store: Store, key: str) -> int:
    """How many workers trained a round, by its ticket's header."""
    from lion_ray import ticket

    header = ticket.unpack((store.load(key) or {})["ticket.safetensors"]).header
    return int(header.numeric["workers"])
