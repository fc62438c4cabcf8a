"""Labels of datasets are unique in a study, and what is compared is told apart by content."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from lion_ray import config
from lion_ray.config import DatasetConfig, StudyError
from lion_ray.experiments import dataset_labels, expand
from lion_ray.report import comparison, tables, trainings
from lion_ray.store import Store
from lion_ray.study.decisions import Decision, Decisions
from lion_ray.study.plan import make_plan
from tests.support.small_runs import run
from tests.support.small_sets import png, put


def named(**options: str | int) -> DatasetConfig:
    return DatasetConfig.model_validate({"name": "cars", **options})


@pytest.mark.parametrize(
    ("others", "labels"),
    [
        ([{}], ["cars"]),
        ([{"num_train": 9}, {}], ["cars(num_train=9)", "cars"]),
        (
            [{"url": "u", "label_column": "fine"}, {"url": "u"}],
            ["cars[label_column=fine]", "cars[label_column=default]"],
        ),
        ([{"url": "s3://key:planted@b/x/old"}, {"url": "/home/me/new/"}], ["cars[old]", "cars[new]"]),
        ([{"url": "/a/cars"}, {"url": "/b/cars"}], ["cars[no. 1]", "cars[no. 2]"]),
        ([{}, {"url": "/b/own"}], ["cars[package]", "cars[own]"]),
    ],
)
def test_what_tells_two_sets_of_one_name_apart_is_in_their_labels(
    others: list[dict[str, str]], labels: list[str]
) -> None:
    configs = [named(**each) for each in others]
    assert [dataset_labels(configs)[each] for each in configs] == labels


@pytest.fixture
def two(study_file: Path, tmp_path: Path) -> list[str]:
    """Two sets of one name at two places, one of them with its classes exchanged."""
    for place, classes in (("here", "ab"), ("there", "ba")):
        files: dict[str, bytes | str] = {
            f"{split}/{name}/{n}.png": png(100 * (name == classes[0]) + 20 * first + n)
            for first, (split, num) in enumerate((("train", 8), ("val", 4), ("test", 4)))
            for name in "ab"
            for n in range(num)
        }
        put(str(tmp_path / place), files)
    entries = ", ".join(f"{{name: pets, url: {tmp_path / place}}}" for place in ("here", "there"))
    return [f"datasets=[{entries}]", "methods=[linear]", "train.epochs=1", "lottery.rounds=1"]


def test_results_and_decisions_of_two_sets_of_one_name_stay_apart(
    study_file: Path, tmp_path: Path, two: list[str]
) -> None:
    study = config.load(study_file, two)
    experiments = expand(study)
    assert [each.label for each in experiments] == ["pets[here]/linear seed 0", "pets[there]/linear seed 0"]
    store = Store(str(tmp_path / "store"))
    for each in experiments:
        run(each, store)
    plan = make_plan(experiments, store)
    assert set(trainings.groups([trainings.view(plan, study, store, {})])) == {"pets[here]", "pets[there]"}
    printed = tables.text_tables(plan, study, tables.rows(plan, study))
    assert "pets[here]" in printed
    assert "pets[there]" in printed
    rows = comparison.with_distinct_datasets([cast("comparison.FinalRow", row) for row in tables.rows(plan, study)])
    assert {row["dataset"] for row in rows} == {"pets[here]", "pets[there]"}

    decisions, (one, other) = Decisions(store, study.scheduler), [each.peers for each in experiments]
    decision = Decision(experiment=experiments[0].name, round=0, val_accuracy=0.5, stopped=(), by="asha")
    decisions.write(one, [decision])
    assert decisions.read(one) == (decision,)
    assert decisions.read(other) == ()


def test_a_set_alone_has_its_decisions_where_they_were(study_file: Path, tmp_path: Path) -> None:
    (alone, *_) = expand(config.load(study_file, ["methods=[linear]"]))
    assert alone.peers.content == ""
    assert alone.label == "mnist(num_train=48, num_val=24, num_test=24)/linear seed 0"


@pytest.mark.parametrize("methods", ["[{name: lion, label: linear}, linear]", "[linear, {name: lion, label: linear}]"])
def test_a_label_that_is_another_entrys_name_is_refused_in_either_order(study_file: Path, methods: str) -> None:
    with pytest.raises(StudyError, match="'linear' names two entries"):
        expand(config.load(study_file, [f"methods={methods}"]))
