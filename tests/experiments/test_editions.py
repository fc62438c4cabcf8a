"""What was stored before something changed never passes for what today's code gives."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import lion_ray
from lion_ray import config, pipeline
from lion_ray.config import Frozen, LotteryConfig, RobustConfig, TrainConfig
from lion_ray.experiments import expand, first_defaults, identity, identity_of, revisions
from lion_ray.experiments.experiment import NOT_IN_IDENTITY
from lion_ray.methods import METHODS, equilibrium, lion_options
from lion_ray.report import comparison
from lion_ray.store import Store
from lion_ray.study import request
from lion_ray.study.plan import make_plan
from lion_ray.study.rounds import OtherRevisionWarning
from tests.support.small_runs import artifacts

# Written by commit 2703a38.
OLD_STORE = Path(__file__).parent.parent / "fixtures" / "store_of_the_first_edition.zip"
OLD_STUDY = """
study: old
storage: {storage}
backbone: {{name: tf_efficientnet_lite0, weights: package, image_size: 32}}
datasets: [{{name: textile, num_train: 12, num_val: 6, num_test: 6}}]
methods: [linear, {{name: lion, input: {{channels: 1, stride: 16}}, output: {{width: 2}}}}]
train: {{epochs: 1, batch_size: 6}}
lottery: {{rounds: 2}}
"""
OLD_LINEAR = "textile-tf_efficientnet_lite0-linear-s0-25fdb3a6"
OLD_LION = "textile-tf_efficientnet_lite0-lion-s0-2e641596"
FIRST_NAMES = [  # as that commit gave them to the tiny study
    (["methods=[lion]", "lottery.scope=global"], "mnist-tf_efficientnet_lite0-lion-s0-9b9cf481"),
    (
        [
            "methods=[{name: lion, gamma: 0.25, solver: {anderson: {window: 3}}, "
            "gradient: {implicit: {tolerance: 1.0e-5}}}]",
            "lottery.scope=global",
        ],
        "mnist-tf_efficientnet_lite0-lion-s0-a70ce1d4",
    ),
    (
        [
            "methods=[{name: lion, input: false, output: {source: stages, width: 8}}]",
            "lottery={scope: global, prune: {one_shot: 0.25}, rewind: {epoch: 1}}",
        ],
        "mnist-tf_efficientnet_lite0-lion-s0-ee9eecec",
    ),
    (
        ["methods=[full]", "lottery.scope=layer", "train={epochs: 3, robust: {tau: 0.5, shrinkage: 0.1}}"],
        "mnist-tf_efficientnet_lite0-full-s0-0efbab5f",
    ),
    (
        ["methods=[{name: partial, blocks: 2}]", "lottery.prune=0.2", "lottery.scope=global"],
        "mnist-tf_efficientnet_lite0-partial-s0-aa8f8de4",
    ),
    (["methods=[{name: linear, train: {lr: 1}}]"], "mnist-tf_efficientnet_lite0-linear-s0-8a6340aa"),
    (["methods=[bias]"], "mnist-tf_efficientnet_lite0-bias-s0-f6897073"),
    (
        ["methods=[{name: vpt_pad, width: 2}]", "lottery.scope=global"],
        "mnist-tf_efficientnet_lite0-vpt_pad-s0-1f234fa8",
    ),
    (["methods=[ssf]", "lottery.scope=layer"], "mnist-tf_efficientnet_lite0-ssf-s0-470f034a"),
]


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A study file whose store the version before the first change of an edition has written, both methods done."""
    with zipfile.ZipFile(OLD_STORE) as packed:
        packed.extractall(tmp_path / "results" / "old")
    file = tmp_path / "old.yaml"
    file.write_text(OLD_STUDY.format(storage=tmp_path / "results"))
    return file


@pytest.fixture
def revised(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `linear` gave other bits from today on."""
    rule = revisions.RevisionRule(
        name="linear", number=2, applies=lambda told: told["method"]["name"] == "linear", because="a test"
    )
    for module in (revisions, identity):
        monkeypatch.setattr(module, "RULES", (*revisions.RULES, rule))


def sections() -> list[type[Frozen]]:
    """All whose keys enter an identity with a default."""
    found: list[type[Frozen]] = [
        TrainConfig,
        LotteryConfig,
        RobustConfig,
        lion_options.InputOptions,
        lion_options.OutputOptions,
    ]
    found += [method.options for method in METHODS.values()]
    found += [equilibrium.AndersonOptions, equilibrium.BroydenOptions, equilibrium.ImplicitOptions]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("section", sections())
def test_every_key_with_a_default_has_its_first_one_on_record(section: type[Frozen]) -> None:
    """A new key without a row would rename every experiment; a row without a key would be a lost promise."""
    keys = {name for name, field in section.model_fields.items() if not field.exclude and not field.is_required()}
    keys -= NOT_IN_IDENTITY if section is LotteryConfig else set()
    assert keys == set(first_defaults.FIRST_DEFAULTS.get(section.__name__, {}))


def test_a_new_default_renames_what_takes_it_and_nothing_else(
    study_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changed(TrainConfig):
        epochs: int = 7

    monkeypatch.setitem(first_defaults.FIRST_DEFAULTS, "Changed", first_defaults.FIRST_DEFAULTS["TrainConfig"])
    assert identity_of(Changed()) == {"epochs": 7}
    assert identity_of(Changed(epochs=5)) == identity_of(TrainConfig()) == {}


def test_sections_within_a_section_are_held_against_their_own_first_defaults() -> None:
    options = lion_options.LionOptions.model_validate({"output": {"width": 8}, "solver": {"anderson": {"window": 3}}})
    assert identity_of(options)["output"] == {"width": 8}
    assert identity_of(options)["solver"] == {"anderson": {"window": 3}}
    assert "input" not in identity_of(options)


@pytest.mark.parametrize(("overrides", "name"), FIRST_NAMES)
def test_an_experiment_is_named_as_ever_but_for_its_revisions(
    study_file: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], name: str
) -> None:
    """The names of all settings as they were, were no revision raised: the table of first defaults is kept."""
    for module in (revisions, identity):
        monkeypatch.setattr(module, "RULES", ())
    assert expand(config.load(study_file, overrides))[0].name == name


@pytest.mark.usefixtures("revised")
def test_a_raised_revision_renames_the_experiments_to_which_its_rule_applies(study_file: Path) -> None:
    one, other = expand(config.load(study_file, ["methods=[linear, lion]"]))
    assert one.identity["revision"] == {"linear": 2}
    assert one.config()["revision"] == {"linear": 2}
    assert "linear" not in json.dumps(other.identity["revision"])


@pytest.mark.usefixtures("embedded_ray")
def test_an_old_store_is_extended_and_nothing_old_is_shown_as_new(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(str(old.parent / "results" / "old"))
    before = artifacts(store)
    experiments = expand(config.load(old))
    assert [item.is_finished for item in make_plan(experiments, store).items] == [True, False]
    assert experiments[0].name == OLD_LINEAR
    assert experiments[1].name != OLD_LION

    assert pipeline.main([str(old)]) == 0
    printed = capsys.readouterr().out
    assert f"{OLD_LINEAR}  rounds 0/1" not in printed
    assert OLD_LION not in printed
    assert "linear seed 0  round" not in printed
    after = artifacts(store)
    assert before.items() <= after.items()
    rows = comparison.read_rows(store.url)
    assert {row["experiment"] for row in rows} == {each.name for each in experiments}


def test_stored_rounds_of_another_revision_are_counted_and_left_out(old: Path) -> None:
    url = str(old.parent / "results" / "old")
    with pytest.warns(OtherRevisionWarning, match="2 of 3 finished rounds are left out: .* run the study again"):
        assert {row["experiment"] for row in lion_ray.tickets(url).to_pylist()} == {OLD_LINEAR}
    with pytest.warns(OtherRevisionWarning, match="2 of 3"):
        assert [row["experiment"] for row in comparison.read_rows(url)] == [OLD_LINEAR]


def test_a_report_asks_for_a_run_where_another_version_had_named_the_experiments(old: Path) -> None:
    store = Store(str(old.parent / "results" / "old"))
    with pytest.raises(request.OtherEditionError, match="run the study again; what has not changed is found"):
        request.recall(store)
    study = config.load(old)
    request.record(store, study, expand(study))
    assert request.recall(store).study == study


def test_what_a_record_says_of_its_revision_is_compared_with_todays(old: Path) -> None:
    experiment = expand(config.load(old))[1]
    told: dict[str, Any] = json.loads(json.dumps(experiment.config()))
    assert revisions.is_current(told)
    assert not revisions.is_current({**told, "revision": {"pruning": 1}})
    assert not revisions.is_current({key: value for key, value in told.items() if key != "revision"})
    assert revisions.is_current(dataclasses.replace(experiment, method=config.MethodConfig(name="linear")).config())
