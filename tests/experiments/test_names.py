"""An experiment's name is a promise: pinned here, so that a change says what it costs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from lion_ray import config
from lion_ray.config import StudyError
from lion_ray.experiments import Experiment, entry_label, expand, identity_digest


def names(file: Path, *overrides: str) -> list[str]:
    return [experiment.name for experiment in expand(config.load(file, overrides))]


def one(file: Path, *overrides: str) -> Experiment:
    return expand(config.load(file, ["methods=[lion]", *overrides]))[0]


def test_names_are_pinned(study_file: Path) -> None:
    """If this fails, every finished experiment of every user would be trained again under a new name."""
    assert names(study_file) == PINNED


PINNED = [
    "mnist-tf_efficientnet_lite0-linear-s0-c4f78e02",
    "mnist-tf_efficientnet_lite0-lion-s0-5c68f361",
]


def test_where_and_how_fast_do_not_enter(study_file: Path, tmp_path: Path) -> None:
    same = ["storage=memory://x", "resources.cpus=2", "resources.workers=2", "study=other", "lottery.rounds=9"]
    same += [
        "lottery.tolerance=0.1",
        "lottery={rounds: 9, prune: 0.5, tolerance: 0.1, patience: 3}",
        "lottery.controls=[random_ticket, reinit]",
    ]
    same += ["methods=[{name: linear, label: probe}, {name: lion, label: ours}]"]
    for override in same:
        assert names(study_file, override) == PINNED, override


@pytest.mark.parametrize(
    ("scheduler", "says"),
    [
        ("{name: asha, grace_rounds: 3}", "asha spares an experiment's first 3 rounds, and there are 3"),
        ("{name: median, min_samples: 2}", "median needs 3 experiments of one dataset to compare, and there are 2"),
        ("median", "median needs 4 experiments"),
    ],
)
def test_a_scheduler_that_could_stop_nobody_is_refused(study_file: Path, scheduler: str, says: str) -> None:
    with pytest.raises(StudyError, match=says):
        names(study_file, f"scheduler={scheduler}")
    assert names(study_file, f"scheduler={scheduler}", "lottery.rounds=4", "seeds=[0, 1]")[::4] == [PINNED[0]]


def test_a_default_that_is_spelled_out_keeps_the_name(study_file: Path) -> None:
    spelled = ["train.lr=1e-3", "train.optimizer=adamw", "lottery.scope=layer", "backbone.crop=none"]
    spelled += ["methods=[linear, {name: lion, gamma: 0.5, input: {channels: 8}}]"]
    for override in spelled:
        assert names(study_file, override) == PINNED, override


@pytest.mark.parametrize(
    "override",
    [
        "train.lr=2e-3",
        "train.epochs=3",
        "lottery.prune=0.25",
        "lottery={prune: [0.5, 0.25]}",
        "lottery={prune: {one_shot: 0.25}}",
        "lottery.criterion=gradient_weight",
        "lottery.rewind={epoch: 1}",
        "lottery.rewind=learning_rate",
        "train.robust={tau: 0.5, shrinkage: 0.1}",
        "seeds=[1]",
        "backbone.image_size=40",
        "backbone.crop=center",
        "backbone.weights=random",
        "methods=[{name: lion, output: {width: 8}}]",
        "datasets=[{name: mnist, num_train: 47, num_val: 24, num_test: 24}]",
    ],
)
def test_what_changes_the_result_changes_the_name(study_file: Path, override: str) -> None:
    assert one(study_file, override).digest != one(study_file).digest


def test_an_entrys_own_sections_name_it_as_a_study_with_these_settings(study_file: Path) -> None:
    entry = "methods=[{name: lion, train: {robust: {tau: 0.5, shrinkage: 0.1}, lr: 2e-3}, lottery: {prune: 0.2}}]"
    robust = "train.robust={tau: 0.5, shrinkage: 0.1}"
    assert names(study_file, entry) == [one(study_file, robust, "train.lr=2e-3", "lottery.prune=0.2").name]
    both = "methods=[lion, {name: lion, train: {lr: 2e-3}}]"
    assert names(study_file, both) == [PINNED[1], one(study_file, "train.lr=2e-3").name]


def test_lottery_settings_do_not_rename_a_method_that_prunes_nothing(study_file: Path) -> None:
    assert names(study_file, "lottery.prune=0.2")[0] == PINNED[0]


def test_the_name_is_readable_and_ends_with_eight_digits_of_the_hash(study_file: Path) -> None:
    experiment = one(study_file)
    assert experiment.name == f"mnist-tf_efficientnet_lite0-lion-s0-{experiment.digest[:8]}"
    assert experiment.digest == identity_digest(experiment.identity)
    assert {"dataset", "transform", "backbone", "method", "train", "lottery", "seed", "revision"} == set(
        experiment.identity
    )


def test_seeds_derive_from_identity_and_purpose(study_file: Path) -> None:
    experiment, other = one(study_file), one(study_file, "train.lr=2e-3")
    drawn = {experiment.seed_for("start"), experiment.seed_for("order/0"), other.seed_for("start")}
    assert len(drawn) == 3
    assert experiment.seed_for("start") == dataclasses.replace(experiment).seed_for("start")
    assert all(0 <= seed < 2**63 for seed in drawn)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["datasets=[mnits]"], "did you mean 'mnist'?"),
        (["methods=[lino]"], "methods.0: unknown method 'lino'"),
        (["backbone.name=tf_efficientnet_lite00"], "backbone.name: timm has no model"),
        (["datasets=[mnist, mnist]"], "twice"),
        (["methods=[lion, {name: lion, label: same}]"], "twice"),
        (["methods=[{name: lion, label: a}, {name: linear, label: a}]"], "methods.1.label: 'a' names two entries"),
        (["train.robust={tau: 0.5, shrinkage: 0.1}"], "methods.0.train.robust: robust training ranks prunable weights"),
        (["methods=[{name: linear, lottery: {prune: 0.2}}]"], "methods.0.lottery: 'linear' has nothing to prune"),
        (["seeds=[0, 0]"], "twice"),
    ],
)
def test_names_that_no_registry_knows_are_refused(study_file: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(StudyError) as caught:
        expand(config.load(study_file, overrides), source="s.yaml")
    assert says in str(caught.value)


def test_tables_call_an_entry_by_its_label_or_by_all_that_it_says(study_file: Path) -> None:
    entries = ["{name: lion, label: ours}", "{name: lion, gamma: 0.25, train: {lr: 2e-3}}", "lion"]
    study = config.load(study_file, [f"methods=[{', '.join(entries)}]"])
    assert [entry_label(method) for method in study.methods] == ["ours", "lion(gamma=0.25)[train={lr=0.002}]", "lion"]


def test_the_record_holds_every_default(study_file: Path) -> None:
    record = one(study_file).config()
    assert record["train"]["weight_decay"] == 0.0
    assert record["method"]["input"]["channels"] == 8
