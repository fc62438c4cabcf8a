"""Search spaces: grids, draws, and a method entry under a setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from lion_ray import config
from lion_ray.config import StudyError
from lion_ray.experiments import Experiment, expand

LION = "methods=[{name: lion, input: false}]"


def searched(file: Path, protocol: str, *overrides: str) -> list[Experiment]:
    return expand(config.load(file, [LION, f"protocol={protocol}", *overrides]))


def test_the_default_grid_is_vpts_for_the_optimizer_and_batch(study_file: Path) -> None:
    adam = searched(study_file, "vtab1k", "train.batch_size=64")
    assert len(adam) == 4 * 4
    assert {each.train.lr for each in adam} == {0.00125, 0.00025, 0.000125, 0.000025}
    sgd = searched(study_file, "vtab1k", "train={optimizer: sgd, batch_size: 128}")
    assert len(sgd) == 10 * 4
    assert max(each.train.lr for each in sgd) == 25.0
    assert {each.train.weight_decay for each in sgd} == {0.01, 0.001, 0.0001, 0.0}
    assert {each.seed for each in sgd} == {42}


def test_any_key_of_an_entry_can_be_searched(study_file: Path) -> None:
    space = "{train.lr: [0.1, 0.01], gamma: [0.5, 0.9], output.width: [8], lottery.prune: [0.3]}"
    found = searched(study_file, f"{{name: vtab1k, search: {space}}}")
    assert len(found) == 4
    assert [each.method.options["gamma"] for each in found] == [0.5, 0.9, 0.5, 0.9]
    assert found[0].method.options == {"input": False, "gamma": 0.5, "output": {"width": 8}}
    assert found[0].lottery.prune == 0.3
    assert found[0].lottery.rounds == 3  # the study's
    assert found[0].label.endswith(
        "lion(input=false) search train.lr=0.1, gamma=0.5, output.width=8, lottery.prune=0.3"
    )


def test_an_entrys_own_space_replaces_the_protocols(study_file: Path) -> None:
    own = "methods=[linear, {name: lion, search: {gamma: [0.5, 0.7, 0.9]}}]"
    found = expand(config.load(study_file, [own, "protocol={name: fewshot, search: {train.lr: [0.1, 0.01]}}"]))
    assert [each.method.name for each in found] == ["linear"] * 2 + ["lion"] * 3


def test_draws_are_the_same_everywhere_and_fewer_are_the_beginning_of_more(study_file: Path) -> None:
    space = "{train.lr: {loguniform: [1e-4, 0.1]}, train.weight_decay: {uniform: [0, 1]}, gamma: {choice: [0.5, 0.9]}}"
    two = "datasets=[{name: mnist, num_train: 20}, {name: animal_mnist, num_train: 20}]"
    many = searched(study_file, f"{{name: vtab1k, samples: 32, search: {space}}}", two, "study=other")
    few = searched(study_file, f"{{name: vtab1k, samples: 8, search: {space}}}")
    mnist = [each.setting for each in many if each.dataset.name == "mnist"]
    assert mnist == [each.setting for each in many if each.dataset.name == "animal_mnist"]
    assert [each.setting for each in few] == mnist[:8]
    rates = [float(str(setting["train.lr"])) for setting in mnist]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    assert 8 <= sum(rate < 10**-2.5 for rate in rates) <= 24  # half of them, by magnitude
    assert {setting["gamma"] for setting in mnist} == {0.5, 0.9}
    assert mnist[0]["train.lr"] == DRAWN
    other = searched(study_file, f"{{name: vtab1k, samples: 8, search: {space}}}", "seeds=[1]")
    assert other[0].setting != few[0].setting


DRAWN = 0.0357173


@pytest.mark.parametrize(
    ("protocol", "says"),
    [
        ("vtab", "'vtab' is not allowed; did you mean 'vtab1k'"),
        ("{name: fixed, samples: 3}", "fixed searches nothing"),
        ("{name: vtab1k, search: {}}", "names no key"),
        ("{name: vtab1k, search: {train.lr: 0.1}}", "train.lr: give a list, {choice: "),
        ("{name: vtab1k, search: {train.lr: []}}", "train.lr: give a list"),
        ("{name: vtab1k, search: {train.lr: [0.1, 0.1]}}", "train.lr: a value stands there twice"),
        (
            "{name: vtab1k, samples: 2, search: {train.lr: {loguniform: [0, 1]}}}",
            "loguniform takes two numbers.* above 0",
        ),
        ("{name: vtab1k, search: {train.lr: {uniform: [0, 1]}}}", "a range has no grid: give protocol.samples"),
        (
            "{name: vtab1k, search: {train.lrr: [0.1]}}",
            "protocol.search: lion.* cannot take train.lrr=0.1: .*unknown key",
        ),
        ("{name: vtab1k, search: {train.lr: [-1]}}", "cannot take train.lr=-1"),
        ("{name: vtab1k, search: {gama: [0.1]}}", "did you mean 'gamma'"),
        ("{name: vtab1k, search: {lottery.rounds: [2, 3]}}", "lottery.rounds: says how long a search goes on"),
    ],
)
def test_a_wrong_space_is_one_line(study_file: Path, protocol: str, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        searched(study_file, protocol)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["methods=[{name: lion, search: {gamma: [0.5]}}]"], "is read by a protocol that searches"),
        (["protocol=fixed", "lottery.tolerance=0.1"], "final runs have no stopping rule"),
        (["protocol=fixed", "scheduler=asha", "seeds=[1, 2]"], "final runs have no stopping rule; use scheduler: none"),
        (["protocol={name: vtab1k, search: {train.lr: [0.1]}}", "scheduler=asha"], "asha needs 2 experiments"),
        (
            ["protocol=vtab1k", "methods=[lion, {name: lion, search: {gamma: [0.5]}}]"],
            "names two entries: give one a label",
        ),
    ],
)
def test_what_makes_no_sense_beside_a_protocol_is_refused(study_file: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(StudyError, match=says):
        expand(config.load(study_file, ["methods=[lion]", *overrides]))


def test_names_of_stages_are_pinned(study_file: Path) -> None:
    """If this fails, finished searches and final runs of every user would be trained again under new names."""
    (search,) = searched(study_file, "{name: vtab1k, search: {train.lr: [0.01]}}")
    (fixed,) = searched(study_file, "fixed", "seeds=[42]")
    assert [search.name, fixed.name] == PINNED


PINNED = ["mnist-tf_efficientnet_lite0-lion-search-d8245cf4", "mnist-tf_efficientnet_lite0-lion-s42-b6bf4c2f"]
