"""A compact ticket: fewer units, the same function."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lion_ray import ticket
from lion_ray.config import TrainConfig
from lion_ray.lottery import Mask, TrainState
from lion_ray.methods import AdaptedModel
from lion_ray.store import Store
from lion_ray.ticket.compact import compact
from lion_ray.training.optimizer import OptimizerStepper
from tests.support.small_runs import experiment, run

BODY, HEAD = "body.prompt.equilibrium.cell", "head.prompt.equilibrium.cell"


def trained(study_file: Path, tmp_path: Path, method: str = "lion") -> ticket.Ticket:
    """A dense ticket of a short real training."""
    store, chosen = Store(str(tmp_path / "store")), experiment(study_file, f"methods=[{method}]", "lottery.rounds=1")
    run(chosen, store)
    return ticket.unpack((store.load(chosen.key("round-0")) or {})["ticket.safetensors"])


def without(dense: ticket.Ticket, **dead: object) -> ticket.Ticket:
    """Entries of some weights pruned; keys are names with `_` for `.`, values are indices."""
    weights = {name: weight.clone() for name, weight in dense.weights.items()}
    alive = {name: entry.clone() for name, entry in dense.mask.alive.items()}
    for key, index in dead.items():
        name = next(name for name in weights if name.replace(".", "_") == key)
        weights[name][index] = 0  # type: ignore[index]
        alive[name][index] = False  # type: ignore[index]
    return dataclasses.replace(dense, weights=weights, mask=Mask(alive=alive))


def assert_same_function(smaller: ticket.Ticket, sparse: ticket.Ticket) -> None:
    found, expected = (ticket.measure(ticket.model_of(each)) for each in (smaller, sparse))
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_units_without_a_path_to_the_output_go_and_those_with_one_stay(study_file: Path, tmp_path: Path) -> None:
    dense = trained(study_file, tmp_path)
    everything, some = slice(None), slice(0, 40)
    sparse = without(
        dense,
        head_prompt_V=(everything, some),  # 40 of 64 units write nothing themselves
        head_prompt_equilibrium_cell_W=(slice(3, None), some),  # and are read by units 0, 1 and 2 alone,
        body_prompt_V=slice(0, 5),
        body_prompt_equilibrium_cell_W=(slice(5, None), slice(0, 5)),
    )
    smaller = compact(sparse)
    assert smaller.header.compact["units"] == {"input": [8, 3], "output": [64, 24]}
    before, after = smaller.header.compact["flops"]
    assert after < before
    assert_same_function(smaller, sparse)
    reached = without(sparse, head_prompt_V=(everything, slice(1, 40)))
    reached.weights["head.prompt.V"][:, 0] = 0.01  # unit 0 writes again, and reads the 39 others through W
    assert compact(reached).header.compact["units"]["output"] == [64, 64]


def test_units_that_a_read_out_does_not_hear_leave_a_prompt_on_maps(study_file: Path, tmp_path: Path) -> None:
    method = "{name: lion, input: false, output: {source: stages, width: 6, rank: 3, readout: 2, grid: 2}}"
    dense = trained(study_file, tmp_path, method)
    sparse = without(
        dense,
        head_prompt_R=(slice(None), slice(0, 8)),  # 4 fields of units 0 and 1
        head_prompt_equilibrium_cell_W=(slice(1, None), slice(0, 2)),  # which only unit 0 reads
    )
    smaller = compact(sparse)
    assert smaller.header.compact["units"] == {"output": [6, 4]}
    assert_same_function(smaller, sparse)
    unheard = without(sparse, head_prompt_V=(slice(None), slice(None)))
    assert compact(unheard).header.method == {"name": "linear"}


def test_constant_units_are_folded_into_biases_in_the_linear_cell_only(study_file: Path, tmp_path: Path) -> None:
    dense = trained(study_file, tmp_path)
    dense.weights[f"{HEAD}.b"][:16] = torch.linspace(-1, 1, 16)
    some = slice(0, 16)
    sparse = without(
        dense,
        head_prompt_equilibrium_cell_U=some,
        head_prompt_equilibrium_cell_W=(some, slice(16, None)),  # no input reaches units 0 to 15, which read each other
        body_prompt_equilibrium_cell_U=slice(0, 2),
        body_prompt_equilibrium_cell_W=(slice(0, 2), slice(2, None)),
    )
    smaller = compact(sparse)
    assert smaller.header.compact["units"] == {"input": [8, 8], "output": [64, 48]}
    assert not torch.equal(smaller.weights["head.classifier.bias"], sparse.weights["head.classifier.bias"])
    assert_same_function(smaller, sparse)


def test_a_prompt_without_units_is_left_out(study_file: Path, tmp_path: Path) -> None:
    sparse = without(trained(study_file, tmp_path), body_prompt_V=slice(None), head_prompt_V=slice(None))
    smaller = compact(sparse)
    assert smaller.header.method == {"name": "linear"}
    assert set(smaller.weights) == {"head.classifier.weight", "head.classifier.bias"}
    assert_same_function(smaller, sparse)


def test_groups_of_a_convolution_go_as_a_whole(study_file: Path, tmp_path: Path) -> None:
    dense = trained(study_file, tmp_path, "{name: lion, input: {groups: 4}, output: false}")
    smaller = compact(without(dense, body_prompt_V=slice(0, 3)))  # groups of two: 0 and 1 go, 2 stays with 3
    assert smaller.header.method["input"]["channels"] == 6
    assert smaller.header.method["input"]["groups"] == 3
    assert_same_function(smaller, without(dense, body_prompt_V=slice(0, 3)))


def test_a_compact_ticket_is_a_ticket(study_file: Path, tmp_path: Path) -> None:
    sparse = without(trained(study_file, tmp_path), head_prompt_V=(slice(None), slice(0, 64)))
    reread = ticket.unpack(ticket.pack(compact(sparse)))
    assert ticket.verify(reread, ticket.model_of(reread)).is_exact
    assert reread.header.method["output"] is False


def test_what_has_no_hidden_units_is_refused(study_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ticket.TicketError, match="only LION's implicit cells"):
        compact(trained(study_file, tmp_path, "{name: lion, cell: explicit}"))


def test_a_ticket_trains_as_its_compact_network_within_1e_5_per_step(study_file: Path, tmp_path: Path) -> None:
    sparse, every = trained(study_file, tmp_path), slice(None)
    for place, some, V in (("body", slice(0, 5), slice(0, 5)), ("head", slice(0, 40), (every, slice(0, 40)))):
        cell = f"{place}_prompt_equilibrium_cell"
        sparse = without(sparse, **{f"{place}_prompt_V": V, f"{cell}_U": some, f"{cell}_W": some})
        sparse = without(sparse, **{f"{cell}_W": (every, some)})
    smaller = compact(sparse)
    assert smaller.header.compact["units"] == {"input": [8, 3], "output": [64, 24]}
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)).double()
    for optimizer, robust in (("adamw", None), ("sgd", None), ("adam", {"tau": 0.5, "shrinkage": 0.5})):
        values = {"lr": 0.01, "weight_decay": 0.1, "optimizer": optimizer, "robust": robust}
        one, other = (trainee(each, TrainConfig.model_validate(values)) for each in (sparse, smaller))
        first = one[0](images).detach()
        for step in range(1, 4):
            logits, same = (a_step(*each, images) for each in (one, other))
            assert (logits - same).abs().max() <= 1e-5 * step * logits.abs().max()
        assert (logits - first).abs().max() > 1e-2 * first.abs().max()  # it did train


def trainee(of: ticket.Ticket, config: TrainConfig) -> tuple[AdaptedModel, OptimizerStepper]:
    """The ticket's model and the steps that train it, in float64: Adam turns one rounding into another step."""
    model = ticket.model_of(of).double()
    steps = OptimizerStepper(model, config, TrainState(weights=of.weights), of.mask)
    steps.begin_epoch(1, measure=False)
    return model, steps


def a_step(model: AdaptedModel, steps: OptimizerStepper, images: Tensor) -> Tensor:
    """Logits after one more step."""
    labels = torch.arange(len(images)) % model.head.classifier.out_features
    steps.take(torch.nn.functional.cross_entropy(model(images), labels))
    logits: Tensor = model(images).detach()
    return logits
