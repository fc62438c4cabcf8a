"""How many experiments a cluster carries: as many as fit with all their workers, never one more, never a deadlock."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lion_ray import job
from lion_ray.config import ResourcesConfig, StudyError
from lion_ray.sweep import cluster
from lion_ray.sweep.capacity import Capacity, Fit, Resources, fit, num_workers

LAPTOP = [{"CPU": 2.0}]
GPU_NODES = [{"CPU": 32.0, "GPU": 4.0}] * 2


@pytest.mark.parametrize(
    ("resources", "nodes", "expected"),
    [
        ({}, LAPTOP, 2),
        ({"cpus": 2}, [{"CPU": 5.0}], 2),
        ({"cpus": 2}, [{"CPU": 3.0}] * 3, 3),  # a CPU of each node is left over
        ({"workers": 2}, [{"CPU": 5.0}], 2),
        ({"workers": 4, "cpus": 2}, [{"CPU": 3.0}] * 9, 2),
        ({"gpus": 0.25}, [{"CPU": 64.0, "GPU": 2.0}], 8),
        ({"gpus": 0.1}, [{"CPU": 64.0, "GPU": 1.0}], 10),
        ({"workers": 4, "cpus": 2, "gpus": 1}, GPU_NODES, 2),
        ({"cpus": 1, "gpus": 1}, [{"CPU": 64.0}, {"CPU": 1.0, "GPU": 8.0}], 1),  # GPUs are where no CPUs are
        ({"workers": {"min": 1, "max": 4}}, [{"CPU": 9.0}], 2),
        ({"workers": {"min": 1, "max": 4}}, LAPTOP, 1),
    ],
)
def test_concurrency_is_what_the_nodes_carry(resources: Any, nodes: list[Resources], expected: int) -> None:
    wanted = ResourcesConfig.model_validate(resources)
    assert fit(wanted, Capacity(nodes=nodes)) == Fit(concurrency=expected)


@pytest.mark.parametrize(
    ("resources", "nodes", "shortfall"),
    [
        ({"cpus": 3}, LAPTOP, r"needs 1 worker with 3 CPU; the cluster has room for 0, its largest node has 2 CPU"),
        ({"cpus": 3}, LAPTOP * 9, r"room for 0"),  # 18 CPUs, and no node with 3
        ({"workers": 3}, LAPTOP, r"needs 3 workers with 1 CPU; the cluster has room for 2"),
        ({"gpus": 1}, LAPTOP, r"needs 1 worker with 1 CPU, 1 GPU; .* largest node has 2 CPU, 0 GPU"),
        ({"workers": {"min": 3, "max": 8}}, LAPTOP, r"needs 3 workers"),
        ({}, [], r"room for 0"),
    ],
)
def test_what_can_never_be_scheduled_is_refused_with_the_shortfall(
    resources: Any, nodes: list[Resources], shortfall: str
) -> None:
    with pytest.raises(StudyError, match=f"resources: one experiment {shortfall}|resources: .*{shortfall}"):
        fit(ResourcesConfig.model_validate(resources), Capacity(nodes=nodes))


@pytest.mark.parametrize("failures", [0, 1, cluster.START_ATTEMPTS - 1, cluster.START_ATTEMPTS])
def test_a_ray_that_does_not_start_in_here_is_tried_again(
    failures: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[str] = []

    def starving(**settings: Any) -> None:
        calls.append(settings["address"])
        if len(calls) <= failures:
            raise Exception("timed out\nduring startup")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setattr("ray.init", starving)
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr(cluster, "capacity", lambda: Capacity(nodes=LAPTOP))
    if failures < cluster.START_ATTEMPTS:
        assert cluster.connect(ResourcesConfig()) == Fit(concurrency=2)
    else:
        with pytest.raises(job.StartError, match="tried 3 times: timed out"):
            cluster.connect(ResourcesConfig())
    assert calls == ["local"] * min(failures + 1, cluster.START_ATTEMPTS)
    again = "Ray did not start, trying again: timed out during startup\n"
    assert capsys.readouterr().out == again * min(failures, cluster.START_ATTEMPTS - 1)


def test_what_an_autoscaler_may_still_bring_is_awaited_and_its_limit_counts() -> None:
    grows = Capacity(nodes=[{"CPU": 2.0}], to_come=[({"CPU": 16.0, "GPU": 1.0}, 4)])
    found = fit(ResourcesConfig(workers=2, cpus=8, gpus=1), grows)
    assert found.concurrency == 2
    assert found.awaited is not None
    assert "0 of 2 workers with 8 CPU, 1 GPU fit" in found.awaited
    assert fit(ResourcesConfig(), grows).awaited is None
    with pytest.raises(StudyError, match="its autoscaler's limits included, has room for 4"):
        fit(ResourcesConfig(workers=5, gpus=1), grows)


def test_the_autoscalers_limits_are_read_from_the_cluster() -> None:
    groups = [SimpleNamespace(resources={"CPU": 8}, max_count=3), SimpleNamespace(resources={"GPU": 1}, max_count=-1)]
    assert cluster._to_come(groups) == [({"CPU": 8}, 3), ({"GPU": 1}, cluster.UNLIMITED)]


def test_what_cluster_files_promise_counts_where_no_autoscaler_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cluster.AUTOSCALES_TO, raising=False)
    assert cluster.promised() == []
    monkeypatch.setenv(cluster.AUTOSCALES_TO, "CPU=32,GPU=8")
    found = fit(ResourcesConfig(cpus=4, gpus=1), Capacity(nodes=[{"CPU": 0.0}], to_come=cluster.promised()))
    assert found.concurrency == 8
    assert found.awaited is not None
    monkeypatch.setenv(cluster.AUTOSCALES_TO, "8 GPUs")
    with pytest.raises(StudyError, match="must be like CPU=32,GPU=8"):
        cluster.promised()


def test_trials_that_only_launch_train_hold_no_cpu() -> None:
    assert cluster.trial_resources(ResourcesConfig(workers=2))["CPU"] == 0
    assert cluster.trial_resources(ResourcesConfig.model_validate({"workers": {"min": 1, "max": 2}}))["CPU"] == 0
    assert cluster.trial_resources(ResourcesConfig(cpus=3, gpus=0.25)) == {"CPU": 3, "GPU": 0.25}


class ResourceTable:
    """A cluster's free resources; a gang takes all it needs at once, from nodes in any order, as Ray's groups do."""

    def __init__(self, nodes: list[Resources], draw: random.Random) -> None:
        self.free = [dict(node) for node in nodes]
        self.draw = draw

    def take(self, worker: Resources, count: int) -> list[int] | None:
        """The node of each worker; None, and nothing taken, if they do not all fit."""
        places: list[int] = []
        while len(places) < count:
            room = [index for index, node in enumerate(self.free) if num_workers(node, worker)]
            if not room:
                self.give_back(worker, places)
                return None
            places.append(self.draw.choice(room))
            self._add(places[-1], worker, -1)
        return places

    def give_back(self, worker: Resources, places: list[int]) -> None:
        for place in places:
            self._add(place, worker, 1)

    def _add(self, place: int, worker: Resources, sign: int) -> None:
        for kind, amount in worker.items():
            self.free[place][kind] = round(self.free[place].get(kind, 0.0) + sign * amount, 6)


NODE = st.fixed_dictionaries({"CPU": st.integers(0, 9).map(float), "GPU": st.integers(0, 4).map(float)})


@hypothesis.given(
    nodes=st.lists(NODE, min_size=1, max_size=5),
    workers=st.integers(1, 5),
    cpus=st.integers(1, 4),
    gpus=st.sampled_from([0, 0, 0.25, 0.5, 1, 2]),
    seed=st.integers(0, 10**6),
)
@hypothesis.settings(max_examples=300)
def test_no_mix_of_nodes_and_requests_deadlocks_or_leaves_room_for_one_more(
    nodes: list[Resources], workers: int, cpus: int, gpus: float, seed: int
) -> None:
    if gpus != int(gpus):
        workers = 1
    wanted, draw = ResourcesConfig(workers=workers, cpus=cpus, gpus=gpus), random.Random(seed)
    worker = {"CPU": float(cpus), **({"GPU": gpus} if gpus else {})}
    table = ResourceTable(nodes, draw)
    try:
        concurrency = fit(wanted, Capacity(nodes=nodes)).concurrency
    except StudyError:
        assert table.take(worker, workers) is None
        return
    running: list[list[int]] = []
    for _ in range(3 * concurrency):  # experiments come and go in any order
        while len(running) < concurrency:
            places = table.take(worker, workers)
            assert places is not None, "an experiment that was let in waits for resources"
            running.append(places)
        assert table.take(worker, workers) is None, "one more would have fitted"
        table.give_back(worker, running.pop(draw.randrange(len(running))))
