"""The fault campaign in short, on two raylets with S3: killed is what matters, and everything is as if nothing was.

The long one: python -m tests.faults.campaign --kills 100 --seed 0
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from lion_ray import config
from lion_ray.experiments import expand
from lion_ray.store import Store, layout
from tests.faults import evidence
from tests.faults.campaign import MNIST
from tests.faults.driver import Driver
from tests.faults.logged_proxy import Answer
from tests.faults.play import Play
from tests.faults.stage import BUCKET, ROOT, Stage, kill, stage
from tests.support.small_runs import run

ROUNDS = ["train.epochs=8", "lottery.rounds=4"]
SHORT = ["methods=[lion]", "train.epochs=3", "lottery.rounds=3"]
ELASTIC = ["methods=[lion]", f"datasets=[{MNIST}]", "resources.workers={min: 1, max: 2}"]
PATIENCE_SECONDS = 300.0


@pytest.fixture
def two_raylets() -> Iterator[Stage]:
    """A stage whose processes and files are all gone once it was left."""
    with tempfile.TemporaryDirectory(prefix="faults", dir="/tmp") as folder:
        with stage(Path(folder) / "x", dashboard=False) as made:
            fsspec.filesystem("s3", skip_instance_cache=True).mkdir(BUCKET)
            yield made
        assert made.leftovers() == ([], [])


def test_kills_of_trial_proxy_node_and_driver_change_no_bit_and_train_no_finished_round_again(
    two_raylets: Stage, tmp_path: Path
) -> None:
    targets = ["trial", "proxy", "node", "driver"]
    record = Play(two_raylets, "0", SHORT, targets, "0", moments=(0.5, 2.0), pauses=(0.2, 0.5)).run()
    assert [each["target"] for each in record["kills"]] == targets
    assert [each["status"] for each in record["kills"]] == [None, None, None, -9]  # only its own kill ends a driver
    assert two_raylets.nodes_with_trials() == {"head", "worker"}
    assert record["hangs"] == 0
    assert record["begun_after_done"] == record["done_twice"] == record["remains"] == []
    undisturbed = Store(str(tmp_path))
    for each in expand(config.load(ROOT / "pipelines/smoke.yaml", SHORT)):
        run(each, undisturbed)
    assert evidence.differences(Store(f"{record['url']}/smoke"), undisturbed) == []


@pytest.mark.parametrize(
    ("again", "shown"),
    [
        ("", ([], [])),
        ("PUT DONE", ([], [])),  # its answer was lost, and it was sent again
        ("GET partial.safetensors", (["/b/s/e/round-0"], [])),
        ("PUT clock.json", ([], ["/b/s/e/round-0"])),
    ],
)
def test_the_proxys_log_shows_a_round_that_is_trained_twice(again: str, shown: tuple[list[str], list[str]]) -> None:
    requests = ["GET DONE", "GET partial.safetensors", "PUT clock.json", "PUT DONE", *filter(None, [again])]
    log = [
        Answer(at=float(at), method=method, path=f"/b/s/e/round-0/{name}", status=200)
        for at, (method, name) in enumerate(map(str.split, requests))
    ]
    found = evidence.trainings(log, "b/s")
    assert (found.begun_after_done, found.done_twice) == shown
    assert found.rounds == 1


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
    teams = [workers_of(store, layout.round_of(name, number)) for number in range(4)]
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
    workers = header.numeric["workers"]
    assert isinstance(workers, int)
    return workers
