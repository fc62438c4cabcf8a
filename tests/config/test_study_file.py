"""The study file: what is accepted, and the one line that everything else gets."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest

from lion_ray import config
from lion_ray.config import StudyError

MINIMAL = "study: s\nstorage: ./r\nbackbone: {name: resnet18}\ndatasets: [mnist]\nmethods: [linear]\n"


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    return file


def test_a_minimal_study_takes_every_default(tmp_path: Path) -> None:
    study = config.load(write(tmp_path, MINIMAL))
    assert study.datasets[0].name == "mnist"
    assert (study.seeds, study.train.epochs, study.lottery.rounds, study.resources.workers) == ((0,), 5, 5, 1)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("methods=[]", "methods: [] is not allowed (at least 1 is needed)"),
        ("study=true", "study: True is not allowed (a text is expected; quote what YAML reads otherwise"),
        ("train.deterministic=yes", "train.deterministic: 'yes' is not allowed (true or false is expected)"),
        ("train.epochs=1:30", "train.epochs: '1:30' is not allowed"),
        ("train.epochs=010", "train.epochs: '010' is not allowed"),
        ("study=a b", "study: 'a b' is not allowed (only letters, digits, "),
    ],
)
def test_what_is_expected_is_told_in_the_words_of_yaml(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(StudyError, match=re.escape(says)):
        config.load(write(tmp_path, MINIMAL), [override])


def test_sections_are_immutable(tmp_path: Path) -> None:
    study = config.load(write(tmp_path, MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        study.train.epochs = 3


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train: {epochz: 3}", "train.epochz: unknown key; did you mean 'epochs'?"),
        ("trian: {epochs: 3}", "trian: unknown key; did you mean 'train'?"),
        ("train: {epochs: 3.5}", "train.epochs: 3.5 is not allowed"),
        ("train: {epochs: '3'}", "train.epochs: '3' is not allowed"),
        ("train: {epochs: 0}", "train.epochs: 0 is not allowed"),
        ("train: {lr: -1}", "train.lr: -1 is not allowed"),
        ("train: {lr: .nan}", "train.lr: nan is not allowed"),
        ("train: {optimizer: adamww}", "train.optimizer: 'adamww' is not allowed; did you mean 'adamw'?"),
        ("train: {epochs: 2, warmup_epochs: 2}", "train: warmup_epochs (2) must be below epochs (2)"),
        ("lottery: {prune: 1.0}", "lottery.prune: 1.0 is not allowed"),
        ("lottery: {prune: [0.5, 1.5]}", "lottery.prune.1: 1.5 is not allowed"),
        ("lottery: {prune: [0.2, 0.5]}", "lottery.prune: densities must fall from round to round, but 0.5 follows 0.2"),
        ("lottery: {prune: [0.5, 0.5]}", "densities must fall"),
        ("lottery: {prune: []}", "an empty list names no density"),
        ("lottery: {prune: {one_shoot: 0.1}}", "lottery.prune.one_shot: is required"),
        ("lottery: {prune: {one_shot: 0.1, x: 1}}", "lottery.prune.x: unknown key"),
        ("lottery: {prune: [0.5, 0.2], rounds: 5}", "lottery: prune fixes rounds: 3 (the dense round 0 counts), but"),
        ("lottery: {prune: {one_shot: 0.1}, rounds: 5}", "lottery: prune fixes rounds: 2"),
        ("lottery: {criterion: gradient}", "lottery.criterion: 'gradient' is not allowed; did you mean"),
        ("lottery: {rewind: initial}", "lottery.rewind: 'initial' is not allowed; did you mean 'init'?"),
        ("lottery: {rewind: {epoch: 0}}", "lottery.rewind.epoch: 0 is not allowed"),
        ("lottery: {controls: [reinit], rounds: 1}", "lottery: controls stand beside pruned rounds, and rounds: 1 has"),
        ("lottery: {controls: [reinit, reinit]}", "lottery: controls names reinit twice"),
        ("lottery: {controls: [reinit], rewind: none}", "lottery: controls train once from round 0's start"),
        ("lottery: {controls: [reinit], rewind: learning_rate}", "lottery: controls train once"),
        ("lottery: {controls: [random_ticket], criterion: random}", "every ticket is a random ticket"),
        (
            "lottery: {patience: 2}",
            "lottery: patience counts the rounds that fall below tolerance, and tolerance is not",
        ),
        (
            "lottery: {tolerance: 0.1, patience: 5}",
            "tolerance never stops: patience is 5, and only 4 rounds are pruned",
        ),
        ("train: {robust: {tau: 0, shrinkage: 1}}", "train.robust.tau: 0 is not allowed"),
        ("train: {robust: {tau: 0.5}}", "train.robust.shrinkage: is required"),
        ("train: {robust: {tau: 0.5, shrinkage: 1, warmup_epochs: 0}}", "train.robust.warmup_epochs: 0 is not allowed"),
        ("resources: {workers: 2, gpus: 0.5}", "resources: gpus: 0.5 is a share"),
        ("seeds: [1, two]", "seeds.1: 'two' is not allowed"),
        ("seeds: 3", "seeds: 3 is not allowed (a list is expected"),
        ("lottery: 3", "lottery: 3 is not allowed"),
        ("train: {epochs: 1}\ntrain: {epochs: 2}", "the key 'train' is given twice"),
        ("train: {epochs: 1", "is not valid YAML"),
    ],
)
def test_every_wrong_line_is_named_in_one_line(tmp_path: Path, line: str, says: str) -> None:
    file = write(tmp_path, MINIMAL + line + "\n")
    with pytest.raises(StudyError) as caught:
        config.load(file)
    message = str(caught.value)
    assert says in message
    assert message.startswith(f"{file}: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("train", "lottery", "says"),
    [
        (
            {"epochs": 3},
            {"rewind": {"epoch": 3}},
            "lottery.rewind: epoch 3 leaves nothing to retrain",
        ),
        ({}, {"rewind": "none"}, "lottery.rewind: none trains on at the schedule's last rate, and cosine ends at 0"),
        (
            {"robust": {"tau": 0.5, "shrinkage": 1, "warmup_epochs": 5}},
            {},
            "train.robust: warmup_epochs (5) must be",
        ),
        (
            {"robust": {"tau": 0.5, "shrinkage": 1, "warmup_epochs": 2}},
            {"rewind": {"epoch": 3}},
            "train.robust: warmup_epochs (2) must be below the 2 epochs of a round",
        ),
        ({"epochz": 3}, {}, "train.epochz: unknown key; did you mean 'epochs'?"),
        ({}, {"prune": [0.5, 0.7]}, "lottery.prune: densities must fall"),
    ],
)
def test_sections_that_contradict_each_other_are_refused_in_a_study_and_in_an_entry(
    tmp_path: Path, train: dict[str, object], lottery: dict[str, object], says: str
) -> None:
    sections = {"train": train, "lottery": lottery}
    in_study = [f"{name}={json.dumps(section)}" for name, section in sections.items() if section]
    in_entry = [f"methods={json.dumps([{'name': 'lion', **sections}])}"]
    for overrides, prefix in ((in_study, ""), (in_entry, "methods.0.")):
        with pytest.raises(StudyError) as caught:
            config.sections_of(config.load(write(tmp_path, MINIMAL), overrides), 0, source="s.yaml")
        assert prefix + says in str(caught.value)


def test_an_entry_replaces_keys_of_the_studys_sections_for_itself_alone(tmp_path: Path) -> None:
    overrides = ["train={epochs: 3, lr: 1e-2}", "methods=[lion, {name: lion, train: {epochs: 4}, label: longer}]"]
    study = config.load(write(tmp_path, MINIMAL), overrides)
    plain, longer = (config.sections_of(study, index)[0] for index in (0, 1))
    assert (plain.epochs, plain.lr) == (3, 0.01)
    assert (longer.epochs, longer.lr) == (4, 0.01)
    assert study.methods[1].options == {}


def test_a_required_key_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="backbone: is required"):
        config.load(write(tmp_path, MINIMAL.replace("backbone: {name: resnet18}\n", "")))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_a_file_without_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(StudyError, match="must hold keys and values"):
        config.load(write(tmp_path, text))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(StudyError, match="cannot be read"):
            config.load(path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"study: \x81")
    with pytest.raises(StudyError, match="cannot be read"):
        config.load(binary)


def test_overrides_replace_add_and_nest(tmp_path: Path) -> None:
    overrides = ["train.epochs=2", "lottery.tolerance=0.02", "datasets=[textile]", "train.lr=1e-2"]
    study = config.load(write(tmp_path, MINIMAL), overrides)
    assert (study.train.epochs, study.lottery.tolerance, study.train.lr) == (2, 0.02, 0.01)
    assert [dataset.name for dataset in study.datasets] == ["textile"]


@pytest.mark.parametrize("override", ["train.epochs", "=3", "datasets.0=x", "train.epochs=[", "study.x=1"])
def test_bad_overrides_are_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(StudyError, match="--set"):
        config.load(write(tmp_path, MINIMAL), [override])


LAUGHS = (
    "a: &a [" + "x, " * 9 + "]\n" + "".join(f"{b}: &{b} [" + f"*{a}, " * 9 + "]\n" for a, b in pairwise("abcdefghi"))
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            MINIMAL + "train: !!python/object/apply:os.system ['true']\n",
            "line 6, column 8: the tag 'tag:yaml.org,2002:py",
        ),
        (MINIMAL + "train: {epochs: !!int 1:30}\n", "line 6, column 17: the tag 'tag:yaml.org,2002:int' is not read"),
        (MINIMAL + "train: !!binary aGVsbG8=\n", "line 6, column 8: the tag 'tag:yaml.org,2002:binary' is not read"),
        (MINIMAL + "---\n" + MINIMAL, "line 6, column 1: a second document begins; a study file is one"),
        (MINIMAL + "1: x\n", "line 6, column 1: a key has to be a text; quote it"),
        (MINIMAL + "[a, b]: x\n", "line 6, column 1: a key has to be a text; quote it"),
        (MINIMAL + "train: &t {robust: *t}\n", "line 6, column 8: an alias stands for what it lies in"),
        (MINIMAL + "train: {<<: 3}\n", "line 6, column 13: << takes a section, or a list of sections"),
        (MINIMAL + "train: *t\n", "line 6, column 8: found undefined alias"),
        (MINIMAL + "train: " + "[" * 70 + "]" * 70, "lists and sections lie more than 60 deep"),
        (MINIMAL + "train: " + "[" * 900, "lists and sections lie more than 60 deep"),
        (MINIMAL + f"train: {{epochs: {'9' * 5000}}}\n", "train.epochs: "),
        (MINIMAL + "train: \x00\n", " not allowed"),
        (LAUGHS + MINIMAL, "its aliases stand for more than 1,048,576 characters"),
        (MINIMAL + "#" * 2**20, "is longer than 1,048,576 bytes"),
    ],
)
def test_a_feature_of_yaml_works_or_is_refused_by_its_name(tmp_path: Path, text: str, says: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(StudyError) as caught:
        config.load(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    assert says in message
    assert "unicode string" not in message
    assert "\n" not in message
    assert len(message) < 400


SHARED = """
study: off
storage: ./r
backbone: {name: resnet18}
datasets: [{name: 2024-01-01, url: no}]
methods:
  - &first {name: lion, label: 1:30, train: &train {lr: 1e-2, epochs: 3}}
  - {<<: *first, label: "010", train: {<<: [{epochs: 4}, *train], deterministic: true}}
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_plain_values_are_those_of_yaml_1_2_and_sections_may_be_shared(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_bytes(SHARED.encode(encoding))
    study = config.load(file)
    assert (study.study, study.datasets[0].name, study.datasets[0].url) == ("off", "2024-01-01", "no")
    assert [method.label for method in study.methods] == ["1:30", "010"]
    assert study.methods[1].train == {"epochs": 4, "lr": 0.01, "deterministic": True}
