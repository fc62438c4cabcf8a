"""The shipped studies of a protocol: what their headers say, and each to its end on stand-ins for data and backbone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lion_ray import config, pipeline
from lion_ray.config import BackboneConfig, DatasetConfig
from lion_ray.data.catalogue import CATALOGUE
from lion_ray.experiments import entry_label
from tests.benchmarks.study_cost import cost, text
from tests.conftest import SMALL_VIT
from tests.data.test_parquet import rows, write
from tests.end_to_end.test_study import table

FOLDER = Path(__file__).parent.parent.parent / "pipelines"
BY_FLOPS = ("vtab", "fgvc", "paper", "longtail", "fewshot")
SMALL_CONVNET = "{name: test_resnet, weights: random, image_size: 32}"
SHORT = ["train.epochs=2", "train.warmup_epochs=0", "train.precision=fp32", "resources={workers: 1}", "seeds=[42]"]
BASE = BackboneConfig(name="resnet50")
ONE = "search: {train.lr: [0.01]}}"


def stand_in(root: Path, entry: DatasetConfig) -> str:
    """A tiny set of the entry's name and number of classes; the entry that names it."""
    num_classes, url = CATALOGUE[entry.name].num_classes, f"{root}/{entry.name}"
    per_class = 2 if entry.shots or entry.imbalance else 0
    if not Path(url).exists():
        names = [f"class {index}" for index in range(num_classes)]
        sizes = {"train": max(12, per_class * num_classes), "validation": 5, "test": 7}
        for split, size in sizes.items():
            images = [((image or b"") + split.encode(), label) for image, label in rows(0, size, num_classes)]
            write(f"{url}/{split}-00000-of-00001.parquet", images, names=names, group=100)
    modifiers = {"shots: 1": entry.shots, "imbalance: {ratio: 2}": entry.imbalance}
    kept = "".join(f", {modifier}" for modifier, is_asked in modifiers.items() if is_asked)
    return f"{{name: {entry.name}, url: {url}{kept}}}"


def arguments(name: str, tmp_path: Path, *overrides: str, num_datasets: int | None = None) -> list[str]:
    """The command for a shipped study on stand-ins, each set once."""
    study = config.load(FOLDER / f"{name}.yaml")
    backbone = SMALL_CONVNET if name == "paper" else SMALL_VIT
    changed = [f"storage={tmp_path}", f"backbone={backbone}", *SHORT]
    if name == "ablation":
        changed[1] = "backbone.image_size=32"
        changed.append("datasets=[{name: mnist, num_train: 16, num_val: 8, num_test: 8}]")
    else:
        sets = dict.fromkeys(stand_in(tmp_path / "data", each) for each in study.datasets)
        changed.append(f"datasets=[{', '.join([*sets][:num_datasets])}]")
    return [f"{name}.yaml", *(part for each in (*changed, *overrides) for part in ("--set", each))]


@pytest.mark.parametrize("name", BY_FLOPS)
def test_a_header_says_what_the_study_costs(name: str) -> None:
    file = FOLDER / f"{name}.yaml"
    assert text(cost(config.load(file))) in file.read_text()


def test_the_header_of_the_ablation_counts_right() -> None:
    file = FOLDER / "ablation.yaml"
    assert text(cost(config.load(file))).partition(";")[0] in file.read_text()


@pytest.mark.parametrize("name", BY_FLOPS)
def test_a_study_that_needs_data_says_so_in_one_line(
    name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    random = "backbone.weights=random"
    assert pipeline.main([f"{name}.yaml", "--set", f"data.root={tmp_path}/none", "--set", random, "--dry-run"]) == 2
    assert re.search(r"holds nothing: build it with `lion-ray data build \w+", capsys.readouterr().err)


@pytest.mark.parametrize("name", [*BY_FLOPS, "ablation"])
def test_a_dry_run_on_stand_ins_plans_all_of_it(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert pipeline.main([*arguments(name, tmp_path), "--dry-run"]) == 0
    planned = re.search(r"([\d,]+) experiments, ", capsys.readouterr().out)
    assert planned
    study = config.load(FOLDER / f"{name}.yaml", arguments(name, tmp_path)[2::2])
    assert int(planned[1].replace(",", "")) == cost(study.model_copy(update={"backbone": BASE})).experiments


@pytest.mark.usefixtures("embedded_ray")
def test_the_long_tail_runs_to_its_end_on_stand_ins(tmp_path: Path) -> None:
    one = ["protocol={name: longtail, " + ONE, "methods=[linear, {name: lion, label: lion}]"]
    assert pipeline.main(arguments("longtail", tmp_path, *one, num_datasets=1)) == 0
    final = [row for row in table(tmp_path, "longtail") if row["stage"] == "final"]
    assert len(final) == 2
    assert all(row["test_accuracy_few"] == row["test_accuracy"] for row in final)


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_ray")
@pytest.mark.parametrize("name", [*BY_FLOPS, "ablation"])
def test_a_shipped_study_runs_to_its_end_on_stand_ins(name: str, tmp_path: Path) -> None:
    study = config.load(FOLDER / f"{name}.yaml")
    assert study.protocol is not None
    one = [] if name == "ablation" else [f"protocol={{name: {study.protocol.name}, {ONE}"]
    assert pipeline.main(arguments(name, tmp_path, *one)) == 0
    final = [row for row in table(tmp_path, name) if row["stage"] == "final"]
    assert {row["method"] for row in final} == {entry_label(entry) for entry in study.methods}
    assert all(row["test_accuracy"] is not None for row in final)
