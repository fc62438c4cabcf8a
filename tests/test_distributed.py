"""Two workers against one: the same gradients, the same rounds, and what the cluster is asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

from lion_ray import cluster, distributed, pipeline, trial
from lion_ray.config import ResourcesConfig, StudyError
from lion_ray.lottery import Mask
from lion_ray.store import Store
from lion_ray.team import Solo, Team
from tests.helpers import decoded, experiment
from tests.test_pipeline import table

CPU = torch.device("cpu")


def first_gradients(study_file: Path, team: Team) -> dict[str, torch.Tensor]:
    """Gradients of one step on the first global batch, V already away from zero."""
    from lion_ray import optimizer, training
    from lion_ray.lottery import Point

    torch.set_num_threads(1)
    chosen = experiment(study_file)
    subject = trial.RoundTrainer(chosen, decoded(chosen), team=team, device=CPU, on_epoch=lambda *_: None)
    weights = {name: weight.clone() for name, weight in subject.start().items()}
    for name in ("body.prompt.V", "head.prompt.V"):
        weights[name].normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
    subject.model.load_trained(weights)
    still = chosen.train.model_copy(update={"optimizer": "sgd", "lr": 1e-30})
    steps = optimizer.Steps(subject.model, still, Point(weights=weights), Mask.dense({}))
    batch = torch.arange(17)  # odd: the two shares differ in size
    training._step(subject._step_module, steps, subject._train, batch, still, team)
    return {
        name: parameter.grad.clone()
        for name, parameter in subject.model.trained().items()
        if parameter.grad is not None
    }


@ray.remote(num_cpus=0)
def worker(study_file: Path, rendezvous: str, rank: int) -> dict[str, torch.Tensor]:
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    try:
        return first_gradients(study_file, distributed.ProcessGroup(CPU))
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("embedded_ray")
def test_two_workers_gradients_equal_one_workers_on_the_same_global_batch(study_file: Path, tmp_path: Path) -> None:
    rendezvous = f"file://{tmp_path / 'rendezvous'}"
    both: list[dict[str, torch.Tensor]] = ray.get([worker.remote(study_file, rendezvous, rank) for rank in (0, 1)])
    alone = first_gradients(study_file, Solo())
    assert alone.keys() == both[0].keys() == both[1].keys()
    for name, gradient in alone.items():
        assert torch.equal(both[0][name], both[1][name]), name
        scale = float(gradient.abs().max())
        assert scale > 0, name
        assert float((both[0][name] - gradient).abs().max()) <= 1e-5 * scale, name


def samples(row: dict[str, object]) -> list[float]:
    """Solved samples per epoch, forward through the input prompt."""
    return [record["health"]["body.prompt.num_samples"] for record in json.loads(str(row["history"]))]


@pytest.mark.usefixtures("embedded_ray")
def test_two_workers_on_s3_run_the_same_rounds_as_one_on_disk(study_file: Path, tmp_path: Path, s3_url: str) -> None:
    overrides = ["datasets=[{name: animal_mnist, num_train: 200, num_val: 100, num_test: 1000}]", "lottery.rounds=2"]
    overrides += ["methods=[{name: lion, input: {lr_multiplier: 0.1}}]"]  # a fast input prompt amplifies round-off
    overrides += ["train.epochs=4", "train.lr=3e-3", "backbone.image_size=64"]
    common = [str(study_file), *(part for override in overrides for part in ("--set", override))]
    found = {}
    for workers, storage in ((1, str(tmp_path)), (2, s3_url)):
        arguments = [*common, "--set", f"storage={storage}", "--set", f"resources.workers={workers}"]
        assert pipeline.main(arguments) == 0
        found[workers] = table(storage, "tiny")
    assert [row["round"] for row in found[2]] == [0, 1]
    for one, two in zip(found[1], found[2], strict=True):
        assert one["experiment"] == two["experiment"]
        assert one["density"] == two["density"]
        assert samples(one) == samples(two) == [200.0] * 4  # every worker's solves are watched
        assert float(one["test_accuracy"]) > 0.6  # type: ignore[arg-type]
        assert abs(float(one["test_accuracy"]) - float(two["test_accuracy"])) <= 0.01  # type: ignore[arg-type]
    assert not [path for path in Store(f"{s3_url}/tiny").paths() if path.startswith("ray/")]


def test_an_error_of_the_leader_is_raised_on_every_worker(embedded_ray: None, tmp_path: Path) -> None:
    @ray.remote(num_cpus=0)
    def fails(rank: int) -> str:
        rendezvous = f"file://{tmp_path / 'r'}"
        torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
        try:
            distributed.ProcessGroup(CPU).lead(lambda: 1 // 0)
        except ZeroDivisionError as error:
            return str(error)
        finally:
            torch.distributed.destroy_process_group()
        return "nothing"

    said: list[str] = ray.get([fails.remote(rank) for rank in (0, 1)])
    assert said[0] == said[1] != "nothing"


def test_backends_and_requests_follow_the_resources() -> None:
    on_gpus, on_cpus = ResourcesConfig(workers=2, cpus=4, gpus=1), ResourcesConfig(workers=2, cpus=4)
    assert (distributed.backend(on_gpus), distributed.backend(on_cpus)) == ("nccl", "gloo")
    scaling = distributed.scaling(on_gpus)
    assert (scaling.num_workers, scaling.use_gpu, scaling.resources_per_worker) == (2, True, {"CPU": 4, "GPU": 1})
    assert distributed.scaling(on_cpus).resources_per_worker == {"CPU": 4}


def test_trials_that_only_launch_train_hold_no_cpu() -> None:
    assert cluster.trial_resources(ResourcesConfig(workers=2))["CPU"] == 0
    assert cluster.trial_resources(ResourcesConfig(cpus=3, gpus=0.25)) == {"CPU": 3, "GPU": 0.25}


@pytest.mark.parametrize(
    ("resources", "has", "expected"),
    [
        ({}, {"CPU": 2}, 2),
        ({"cpus": 2}, {"CPU": 5}, 2),
        ({"workers": 2}, {"CPU": 5}, 2),
        ({"gpus": 0.25}, {"CPU": 64, "GPU": 2}, 8),
        ({"workers": 4, "cpus": 2, "gpus": 1}, {"CPU": 64, "GPU": 8}, 2),
    ],
)
def test_concurrency_is_what_the_cluster_carries(
    resources: dict[str, Any], has: dict[str, float], expected: int
) -> None:
    assert cluster.concurrency(ResourcesConfig(**resources), has) == expected


@pytest.mark.parametrize(
    ("resources", "shortfall"), [({"cpus": 3}, "3 CPU"), ({"workers": 3}, "3 CPU"), ({"gpus": 1}, "1 GPU")]
)
def test_what_the_cluster_can_never_carry_is_refused(resources: dict[str, Any], shortfall: str) -> None:
    with pytest.raises(StudyError, match=f"one experiment needs {shortfall}, the cluster has"):
        cluster.concurrency(ResourcesConfig(**resources), {"CPU": 2})


def test_what_an_autoscaler_promises_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cluster.AUTOSCALES_TO, "CPU=32,GPU=8")
    full = cluster.full_size({"CPU": 40, "memory": 1e9})
    assert full == {"CPU": 40, "GPU": 8}
    assert cluster.concurrency(ResourcesConfig(cpus=4, gpus=1), full) == 8
    monkeypatch.setenv(cluster.AUTOSCALES_TO, "8 GPUs")
    with pytest.raises(StudyError, match="must be like CPU=32,GPU=8"):
        cluster.full_size({})


def test_a_mask_needs_no_device_of_its_own() -> None:
    assert Mask.dense({"w": torch.ones(2)}).on(CPU).density == 1.0
