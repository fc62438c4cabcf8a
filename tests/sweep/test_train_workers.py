"""Two workers against one: the same gradients, the same rounds, and what the cluster is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import ray
import torch

from lion_ray import backbones, pipeline
from lion_ray.config import ResourcesConfig, WorkersRange
from lion_ray.lottery import Mask
from lion_ray.methods import METHODS
from lion_ray.store import Store
from lion_ray.sweep import train_workers
from lion_ray.sweep.trial_body import TrialBody
from lion_ray.sweep.trial_inputs import SharedDataset, TrialInputs
from lion_ray.training.workers import SingleWorker, Workers
from lion_ray.trial.trainer import RoundTrainer
from tests.conftest import SMALL_CONVNET, SMALL_VIT
from tests.end_to_end.test_study import table
from tests.support.small_runs import decoded, experiment
from tests.training.test_one_round import half_mask

CPU = torch.device("cpu")


Found = tuple[dict[str, torch.Tensor], float, float]


def first_step_and_evaluation(study_file: Path, workers: Workers, *overrides: str) -> Found:
    """Gradients of a ticket's step on the first global batch, V already away from zero; those of dead weights are 0.

    Then test accuracy and how many samples it counted.
    """
    from lion_ray.lottery import TrainState
    from lion_ray.training import loop, optimizer

    torch.set_num_threads(1)
    chosen = experiment(study_file, *overrides)
    backbone = backbones.load(chosen.backbone)
    subject = RoundTrainer(chosen, decoded(chosen), backbone, workers=workers, device=CPU, on_epoch=lambda *_: None)
    weights = {name: weight.clone() for name, weight in subject.start().items()}
    for weight in weights.values():
        if not weight.any():
            weight.normal_(0, 0.01, generator=torch.Generator().manual_seed(0))
    mask = half_mask(subject)
    weights = mask.applied(weights)
    subject.model.load_trained(weights)
    still = chosen.train.model_copy(update={"optimizer": "sgd", "lr": 1e-30})
    steps = optimizer.OptimizerStepper(subject.model, still, TrainState(weights=weights), mask)
    share = loop._shard(torch.arange(17), workers)  # odd: the shares differ in size
    (inputs,) = subject._splits.train.batches([share.rows], seed=0)
    loop._step(subject._step_module, steps, inputs, subject._splits.train.labels, share, still)
    trained = subject.model.trained()
    gradients = {name: parameter.grad.clone() for name, parameter in trained.items() if parameter.grad is not None}
    assert not any(bool(gradients[name][~alive].any()) for name, alive in mask.alive.items())
    assert subject._splits.test is not None
    accuracy, health = loop.evaluate(subject.model, subject._splits.test, still, workers)  # 25 images: odd as well
    return gradients, accuracy, health.get("body.prompt.num_samples", 0)


@ray.remote(num_cpus=0)
def worker(
    study_file: Path, rendezvous: str, rank: int, size: int, subjects: Sequence[Sequence[str]] = ((),)
) -> list[Found]:
    torch.distributed.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=size)
    try:
        workers = train_workers.ProcessGroup(CPU)
        return [first_step_and_evaluation(study_file, workers, *overrides) for overrides in subjects]
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("embedded_ray")
def test_workers_gradients_equal_one_workers_on_the_same_global_batch_and_each_image_is_counted_once(
    study_file: Path, tmp_path: Path
) -> None:
    study_file.write_text(study_file.read_text().replace("num_test: 24", "num_test: 25"))
    alone, accuracy, samples = first_step_and_evaluation(study_file, SingleWorker())
    assert samples == 25
    for size in (2, 4):
        rendezvous = f"file://{tmp_path / str(size)}"
        workers: list[list[Found]] = ray.get(
            [worker.remote(study_file, rendezvous, rank, size) for rank in range(size)]
        )
        for ((gradients, team_accuracy, team_samples),) in workers:
            assert (team_accuracy, team_samples) == (accuracy, samples)
            assert_same_gradients(gradients, alone, workers[0][0][0])


def assert_same_gradients(
    found: Mapping[str, torch.Tensor], alone: Mapping[str, torch.Tensor], leader: Mapping[str, torch.Tensor]
) -> None:
    assert found.keys() == alone.keys()
    for name, gradient in alone.items():
        assert torch.equal(found[name], leader[name]), name
        scale = float(gradient.abs().max())
        assert scale > 0, name
        assert float((found[name] - gradient).abs().max()) <= 1e-5 * scale, name


@pytest.mark.usefixtures("embedded_ray")
def test_every_methods_gradients_on_two_workers_equal_those_on_one(study_file: Path, tmp_path: Path) -> None:
    on_vit = {name: (f"methods=[{name}]", f"backbone={SMALL_VIT}") for name in METHODS if name != "vpt_pad"}
    subjects = {**on_vit, "vpt_pad": ("methods=[vpt_pad]", f"backbone={SMALL_CONVNET}")}
    rendezvous, several = f"file://{tmp_path / 'r'}", list(subjects.values())
    workers: list[list[Found]] = ray.get([worker.remote(study_file, rendezvous, rank, 2, several) for rank in (0, 1)])
    for index, overrides in enumerate(several):
        alone, accuracy, _ = first_step_and_evaluation(study_file, SingleWorker(), *overrides)
        for found in workers:
            assert found[index][1] == accuracy
            assert_same_gradients(found[index][0], alone, workers[0][index][0])


def samples(row: dict[str, object]) -> list[float]:
    """Solved samples per epoch, forward through the input prompt."""
    return [record["health"]["body.prompt.num_samples"] for record in json.loads(str(row["history"]))]


@pytest.mark.filterwarnings("ignore:datasets.animal_mnist")  # 2 images of test are in train, which is so
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
            train_workers.ProcessGroup(CPU).on_rank_zero(lambda: 1 // 0)
        except ZeroDivisionError as error:
            return str(error)
        finally:
            torch.distributed.destroy_process_group()
        return "nothing"

    said: list[str] = ray.get([fails.remote(rank) for rank in (0, 1)])
    assert said[0] == said[1] != "nothing"


def test_backends_and_requests_follow_the_resources() -> None:
    on_gpus, on_cpus = ResourcesConfig(workers=2, cpus=4, gpus=1), ResourcesConfig(workers=2, cpus=4)
    assert (train_workers.backend(on_gpus), train_workers.backend(on_cpus)) == ("nccl", "gloo")
    scaling = train_workers.scaling(on_gpus)
    assert (scaling.num_workers, scaling.use_gpu, scaling.resources_per_worker) == (2, True, {"CPU": 4, "GPU": 1})
    assert train_workers.scaling(on_cpus).resources_per_worker == {"CPU": 4}
    elastic = ResourcesConfig(workers=WorkersRange(min=1, max=4))
    assert train_workers.scaling(elastic).num_workers == (1, 4)


def test_a_mask_needs_no_device_of_its_own() -> None:
    assert Mask.dense({"w": torch.ones(2)}).on(CPU).density == 1.0


def test_waiting_for_nodes_is_no_failure_and_a_controller_that_fails_is_replaced_a_few_times(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.train import ControllerError
    from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError

    waited, failed = ControllerError(WorkerGroupStartupTimeoutError(2)), ControllerError(OSError("lost"))
    outcomes: list[ControllerError | None] = [*[waited] * 9, failed, waited, failed, None, *[failed] * 3]
    monkeypatch.setattr(train_workers, "_fit", lambda *_: outcomes.pop(0))
    monkeypatch.setattr(train_workers, "PAUSE_SECONDS", 0.0)
    body = TrialBody(
        inputs=TrialInputs(experiment=experiment(study_file), data=SharedDataset(name="", classes=(), splits={})),
        backbone=None,  # type: ignore[arg-type]
        store=Store(str(tmp_path)),
        mailbox=None,
        resources=ResourcesConfig(workers=2),
    )
    run = partial(train_workers.run_on_workers, body)
    run()
    with pytest.raises(ControllerError, match="lost"):
        run()
    assert outcomes == []
