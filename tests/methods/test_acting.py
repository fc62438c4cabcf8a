"""What can act: entries on a path from the input to the output; what is cut off is said, and not counted."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch

from lion_ray import ticket
from lion_ray.experiments import Experiment
from lion_ray.lottery import RoundMetrics
from lion_ray.methods import AdaptedModel
from lion_ray.store import Store
from lion_ray.sweep.progress import Progress
from lion_ray.ticket.compact import compact
from lion_ray.trial.measures import num_params
from tests.support.constants import CONVNET, SIZE, VIT, Entry, model_of, sparse_mask
from tests.support.small_runs import decoded, experiment, run
from tests.ticket.test_compact import trained, without

STAGES: Entry = {
    "name": "lion",
    "input": False,
    "output": {"source": "stages", "width": 6, "rank": 4, "grid": 2, "readout": 2},
}
EXPLICIT: Entry = {"name": "lion", "cell": "explicit", "depth": 2}
CUT = [
    ({"name": "lion"}, CONVNET),
    (STAGES, CONVNET),
    ({"name": "lion", "input": {"groups": 4}, "output": False}, CONVNET),
    (EXPLICIT, CONVNET),
    ({"name": "lora"}, VIT),
    ({"name": "adapter"}, VIT),
]


def prune(model: AdaptedModel) -> None:
    """To 3 %; of an input prompt two units lose all that they write, and an adapter's idle units are idle at 0."""
    mask = sparse_mask(model, density=0.03)
    for name, alive in mask.alive.items():
        if name == "body.prompt.V":
            alive[:2] = False
    with torch.no_grad():
        mask.zero_(model.trained())
        for name, weight in model.trained().items():
            weight.mul_(not name.endswith(".down.bias"))


@pytest.mark.parametrize(("entry", "backbone"), CUT, ids=str)
def test_what_does_not_act_tells_no_images_apart_and_what_acts_does(entry: Entry, backbone: str) -> None:
    """Survivors that are said not to act are drawn anew: logits move by the same for every image, if at all."""
    model = model_of(entry, backbone)
    prune(model)
    generator = torch.Generator().manual_seed(5)
    images = torch.randn(4, 3, SIZE, SIZE, generator=generator)
    weights, acting = model.trained(), model.acting()
    with torch.no_grad():
        before = model(images)
        for name, entries in acting.items():
            if name in weights and not name.endswith(".down.bias"):
                alive = (weights[name] != 0) if name in model.prunable() else torch.ones_like(entries)
                other = weights[name] + 0.1 * torch.randn(entries.shape, generator=generator)
                weights[name].copy_(torch.where(alive & ~entries, other, weights[name]))
        moved = model(images) - before
        assert (moved - moved[:1]).abs().max() <= 1e-5 * before.abs().max()
        for name, entries in acting.items():
            if name in weights and bool(entries.any()):
                weights[name].copy_(torch.where(entries, 0.5 * weights[name] + 0.1, weights[name]))
        moved = model(images) - before
        assert (moved - moved[:1]).abs().max() > 1e-4 * before.abs().max()
    assert any(not bool(entries.all()) for entries in acting.values())


def test_a_ticket_counts_what_compact_leaves(study_file: Path, tmp_path: Path) -> None:
    stages = "{name: lion, input: false, output: {source: stages, width: 6, rank: 3}}"
    for method, survivors in (("lion", 60), (stages, 4)):  # of each weight
        dense = trained(study_file, tmp_path / method[-4:].strip("}"), method)
        generator = torch.Generator().manual_seed(6)
        dead = {
            name.replace(".", "_"): torch.rand(entry.shape, generator=generator) > survivors / entry.numel()
            for name, entry in dense.mask.alive.items()
        }
        sparse = without(dense, **dead)
        smaller = compact(sparse)
        left = num_params(smaller.weights, smaller.mask, {})["num_params"]
        counted = num_params(sparse.weights, sparse.mask, ticket.model_of(sparse).acting())
        assert counted["num_acting_params"] == left < counted["num_params"]
        again = num_params(smaller.weights, smaller.mask, ticket.model_of(smaller).acting())
        assert again["num_acting_params"] == left


def test_a_prompt_without_a_path_is_named_at_the_rounds_end_and_in_the_results(
    study_file: Path, tmp_path: Path
) -> None:
    """One-shot to one weight in a layer, where layers are allowed to die: nothing of the prompts is left."""
    store = Store(str(tmp_path / "store"))
    settings = ["lottery.prune=[0.5, 0.0001]", "lottery.scope=global", "lottery.allow_dead_layers=true"]
    dense, half, last = run(experiment(study_file, *settings), store)
    assert dense.metrics.without_path == ()
    assert dense.cut_off == ""
    assert dense.metrics.num_acting_params == dense.metrics.num_params
    assert last.metrics.without_path == ("input", "output")
    assert "no path from input to output" in last.cut_off
    assert last.metrics.num_acting_params_without_classifier <= 8 * 8 * 9 + 8  # constant maps of the input's cell
    assert last.metrics.num_params_without_classifier > 60  # biases of dead units among them
    assert half.metrics.num_acting_params <= half.metrics.num_params
    screen = io.StringIO()
    progress = Progress(experiments=[], done={}, stream=screen)
    for _ in range(2):  # every worker says it
        progress.show_warning(last.cut_off)
    assert screen.getvalue() == f"WARNING {last.cut_off}\n"


def test_with_prompts_switched_off_a_round_is_its_classifier_on_the_frozen_features(
    study_file: Path, tmp_path: Path
) -> None:
    stages = "{name: lion, input: false, output: {source: stages, width: 6}}"
    for number, method in enumerate(("lion", stages)):
        settings = [f"methods=[{method}]", "lottery.rounds=1", "train.lr=1e-2"]
        chosen = experiment(study_file, *settings)
        store = Store(str(tmp_path / str(number)))
        (found,) = run(chosen, store)
        opened = ticket.unpack((store.load(chosen.key("round-0")) or {})["ticket.safetensors"])
        off = {
            name: torch.zeros_like(weight) if name.endswith(".V") else weight for name, weight in opened.weights.items()
        }
        assert opened.header.metrics["test_accuracy_without_prompts"] == found.metrics.test_accuracy_without_prompts
        for split in ("val", "test"):
            assert accuracy(chosen, opened, off, split) == pytest.approx(
                getattr(found.metrics, f"{split}_accuracy_without_prompts"), abs=1e-6
            )
            assert accuracy(chosen, opened, dict(opened.weights), split) == pytest.approx(
                getattr(found.metrics, f"{split}_accuracy"), abs=1e-6
            )
    (linear,) = run(experiment(study_file, "methods=[linear]"), Store(str(tmp_path / "linear")))
    assert linear.metrics.test_accuracy_without_prompts is None


def accuracy(chosen: Experiment, opened: ticket.Ticket, weights: dict[str, torch.Tensor], split: str) -> float:
    """Of the ticket's model with these weights, on images."""
    model, of = ticket.model_of(opened), getattr(decoded(chosen), split)
    model.load_trained(weights)
    with torch.no_grad():
        images = model.body.backbone.transform.normalised(of.images.copy(), torch.device("cpu"))
        return float((model(images).argmax(1) == torch.tensor(of.labels)).float().mean())


def test_rounds_stored_before_that_was_measured_say_it_too() -> None:
    """A linear probe's: nothing of it can be cut off, and it is not trained again."""
    solves = {"num": 0, "share_unconverged": 0.0, "residual_max": 0.0}
    counts = {"num_params": 70, "num_params_without_classifier": 0}
    old = {"density": 1.0, **counts, "val_accuracy": 0.5, "test_accuracy": 0.4, "solves": solves, "history": []}
    found = RoundMetrics.from_json(old)
    assert (found.num_acting_params, found.num_acting_params_without_classifier) == (70, 0)
    assert found.without_path == ()
    assert found.test_accuracy_without_prompts is None
    assert (found.val_accuracy, found.test_accuracy) == (0.5, 0.4)
    assert RoundMetrics.from_json(found.as_json()) == found
