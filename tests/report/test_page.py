"""The report against a study worked out by hand: means, marks, what is missing, and a page that needs nothing else."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lion_ray.cli import commands
from lion_ray.experiments import ComparisonGroup
from lion_ray.report import formatting, page, ranking, scores, trainings
from lion_ray.report.published import published
from lion_ray.store import Store
from lion_ray.study import request
from lion_ray.study.decisions import Decision, Decisions
from tests.support import browser
from tests.support.made_studies import experiments, finish, put, study

VOID = {"meta", "link", "br"}
LINEAR = {0: 0.70, 1: 0.72}
LION = {0: 0.80, 1: 0.82}
TINY = study(
    datasets=["cifar", "mnist", "textile"],
    methods=["linear", "lion"],
    seeds=[0, 1],
    lottery={"rounds": 2, "prune": 0.5},
)
ACCURACIES = {
    **{("cifar", "linear", seed, 0): value for seed, value in LINEAR.items()},
    **{("cifar", "lion", seed, 0): value for seed, value in LION.items()},
    **{("cifar", "lion", seed, 1): value - 0.02 for seed, value in LION.items()},
    **{(name, "linear", seed, 0): 0.50 for name in ("mnist", "textile") for seed in (0, 1)},
    **{("mnist", "lion", seed, number): 0.60 for seed in (0, 1) for number in (0, 1)},
    ("textile", "lion", 0, 0): 0.90,
}


@pytest.fixture
def tiny(tmp_path: Path) -> Store:
    """LION lacks textile's seed 1, which failed, and textile's round 1."""
    store = Store(str(tmp_path / "tiny"))
    found = finish(store, TINY, ACCURACIES)
    failed = next(each for each in found if (each.dataset.name, each.method.name, each.seed) == ("textile", "lion", 1))
    reason = "ValueError: <script>alert(1)</script> at https://user:hunter2@host/x"
    request.record_failures(store, {failed.name: reason})
    return store


def scored(store: Store) -> dict[tuple[str, int], scores.Score]:
    views = trainings.opened([store.url])
    found = ranking.compared(ranking.main_trainings(trainings.all_trainings(views)), trainings.groups(views))
    return {(score.line.method, score.line.round): score for score in found}


def test_means_are_those_worked_out_by_hand(tiny: Store) -> None:
    found = scored(tiny)
    linear, lion, ticket = found["linear", 0], found["lion", 0], found["lion", 1]
    assert linear.groups == {"cifar": "natural", "mnist": "other", "textile": "other"}
    assert linear.cells["cifar"].mean.value == pytest.approx(71)
    assert linear.cells["cifar"].deviation == pytest.approx(2**0.5)
    assert {name: mean.value for name, mean in linear.group_means.items()} == pytest.approx(
        {"natural": 71, "other": 50}
    )
    assert linear.group_mean.value == pytest.approx(60.5)
    assert linear.task_mean.value == pytest.approx(57)
    assert lion.task_mean.value == pytest.approx((81 + 60 + 90) / 3)
    assert lion.sizes["num_acting_params"] == 8000
    assert ticket.sizes == pytest.approx(
        {"density": 0.5, "num_acting_params": 4500, "num_acting_params_without_classifier": 3500}
    )
    interval = linear.interval
    assert interval is not None
    assert interval.num == 3
    halves = [of_cell.high - of_cell.mean for cell in linear.cells.values() if (of_cell := cell.interval)]
    assert interval.high - interval.mean == pytest.approx(math.hypot(*halves) / 3)
    assert halves[0] > 1.96 * 100 * math.sqrt(0.71 * 0.29 / 100), "the 100 test images have an error of their own"


def test_a_mean_over_less_than_was_asked_for_says_so(tiny: Store) -> None:
    found = scored(tiny)
    whole = formatting.mean_text(found["linear", 0].task_mean)
    assert whole == "57.0"
    assert formatting.mean_text(found["lion", 0].task_mean) == "77.0 (5 of 6 trainings)"
    assert formatting.mean_text(found["lion", 1].task_mean) == "69.5 (mean of 2 of 3)"
    assert formatting.plus_minus(found["lion", 0].cells["textile"]) == "90.0 (mean of 1 of 2)"
    assert formatting.missing_kinds(found["lion", 1].missing) == "1 not run yet, 1 failed"


def test_best_and_tied_are_paired_over_the_seeds_and_only_of_what_is_complete(tiny: Store) -> None:
    found = scored(tiny)
    marks = {key: [cell.mark for cell in score.cells.values()] for key, score in found.items()}
    assert marks["lion", 0] == ["best", "best", ""]  # textile: a seed is missing, so nobody is compared
    assert marks["lion", 1] == ["tied", "tied", ""]  # cifar: 2 points below in both seeds, of 100 images
    assert marks["linear", 0] == ["tied", "tied", ""]
    assert [score.mark for score in found.values()] == ["", "", ""]  # linear alone is complete
    assert [score.rank for score in found.values()] == [3, 1.25, 1.75]  # over cifar and mnist


def test_a_difference_that_seeds_scatter_over_is_tied(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "tiny"))
    of = study(datasets=["mnist"], methods=["linear", "lion"], seeds=[0, 1, 2], lottery={"rounds": 1})
    values = {"lion": (0.80, 0.82, 0.84), "linear": (0.79, 0.84, 0.80)}
    finish(store, of, {("mnist", m, seed, 0): each[seed] for m, each in values.items() for seed in (0, 1, 2)})
    found = scored(store)
    assert (found["lion", 0].mark, found["linear", 0].mark) == ("best", "tied")  # 1, -2, 4: 1 ± 7.5


def test_search_runs_stay_out_of_the_main_table(tiny: Store) -> None:
    views = trainings.opened([tiny.url])
    every = [
        training._replace(stage=trainings.SEARCH) if training.line.round else training
        for training in trainings.all_trainings(views)
    ]
    assert {score.line.round for score in scores.scores(every, trainings.groups(views))} == {0}


def test_what_is_missing_has_its_reason(tiny: Store) -> None:
    def told() -> set[str]:
        return {
            training.reason
            for training in trainings.all_trainings(trainings.opened([tiny.url]))
            if training.record is None
        }

    failed = "failed: ValueError: <script>alert(1)</script> at https://***@host/x"
    assert told() == {failed, "not run yet"}
    tiny.write("driver.json", b'{"host": "elsewhere", "pid": 7, "born": "x", "id": "y"}')
    assert told() == {failed, "running or waiting"}
    dataset = TINY.datasets[2]
    name = next(each.name for each in experiments(TINY) if each.dataset == dataset and each.method.name == "lion")
    decision = Decision(experiment=name, round=0, val_accuracy=0.5, stopped=((name, 0),), by="budget")
    Decisions(tiny, TINY.scheduler).write(ComparisonGroup(dataset=dataset), [decision])
    assert told() == {failed, "stopped by budget after round 0"}


class Page(HTMLParser):
    """Checks nesting, and collects what must not or must be there."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: dict[str, list[dict[str, str | None]]] = {}
        self.figures: list[int] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.setdefault(tag, []).append(dict(attrs))
        if tag == "figure":
            self.figures.append(0)
        if tag == "table" and "figure" in self.open:
            self.figures[-1] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.setdefault(tag, []).append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_alone_and_every_figure_has_a_table(tiny: Store) -> None:
    text = page.files(trainings.opened([tiny.url]))["report.html"].decode()
    found = Page(text)
    assert "script" not in found.seen
    assert "img" not in found.seen
    every = [attrs for tags in found.seen.values() for attrs in tags]
    links = [value for attrs in every for key, value in attrs.items() if key in ("href", "src")]
    assert all(link and link.startswith(("#", "data:,")) for link in links)
    assert "url(" not in text
    assert "@import" not in text
    assert found.figures == [1] * 6
    assert all(svg.get("aria-label") or svg.get("aria-hidden") for svg in found.seen["svg"])
    ids = [attrs["id"] for attrs in every if "id" in attrs]
    assert len(set(ids)) == len(ids)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "hunter2" not in text


def test_published_rows_stand_beside_vtab_tasks_with_their_conditions(tiny: Store, tmp_path: Path) -> None:
    text = page.files(trainings.opened([tiny.url]))["report.html"].decode()
    assert "This report has 1 of the 19 tasks" in text
    fact = next(row for row in published() if row.method == "FacT")
    assert (fact.task_mean, fact.encoding, fact.epoch_rule) == ("73.23", "JPEG tree", "best test epoch")
    assert fact.normalisation == "not stated"
    assert len(published()) == 18
    other = Store(str(tmp_path / "own"))
    finish(other, study(study="own", datasets=["mnist"], methods=["linear"]), {("mnist", "linear", 0, 0): 0.5})
    assert "Published" not in page.files(trainings.opened([other.url]))["report.html"].decode()


def test_the_command_writes_page_and_tables_of_several_studies(tiny: Store, tmp_path: Path) -> None:
    other = Store(str(tmp_path / "own"))
    finish(other, study(study="own", datasets=["mnist"], methods=["linear"]), {("mnist", "linear", 0, 0): 0.55})
    printed = CliRunner().invoke(
        commands.main, ["report", tiny.url, f"{tiny.path('')}.", other.url, "--to", str(tmp_path / "out")]
    )
    assert printed.exit_code == 0, printed.output
    assert printed.output.endswith("out/report.html\n")
    kinds = {f"{name}.{kind}" for name in ("main", "rounds") for kind in ("csv", "parquet", "md", "tex")}
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"report.html", *kinds}
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "main.csv").read_text())))
    (row,) = [row for row in rows if row["study"] == "own" and row["over"] == "task mean"]
    assert float(row["mean"]) == pytest.approx(55)
    assert (row["num"], row["asked"]) == ("1", "3")
    table = pq.read_table(tmp_path / "out" / "main.parquet", use_threads=False).to_pylist()
    assert [each["mean"] for each in table] == [float(row["mean"]) if row["mean"] else None for row in rows]
    text = (tmp_path / "out" / "main.md").read_text()
    assert "| own: linear |" in text
    assert "not in this study" in text
    assert r"\begin{tabular}" in (tmp_path / "out" / "main.tex").read_text()


def test_a_page_that_is_handed_on_names_a_study_as_it_was_named_here(
    tiny: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert trainings.opened(["tiny"])[0].url == "tiny"
    page.write(trainings.opened(["tiny"]), str(tmp_path / "out"))
    assert str(tmp_path) not in (tmp_path / "out" / page.FILE).read_text()
    monkeypatch.chdir(tmp_path / "out")
    assert trainings.opened([str(tmp_path / "tiny")])[0].url == str(tmp_path / "tiny")


def test_a_study_that_never_ran_or_is_damaged_is_one_line(tmp_path: Path) -> None:
    missing = CliRunner().invoke(commands.main, ["report", str(tmp_path / "none")])
    assert missing.exit_code == 2
    assert "has no request.json" in missing.output
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "request.json").write_text("{")
    damaged = CliRunner().invoke(commands.main, ["report", str(tmp_path / "bad")])
    assert damaged.exit_code == 2
    assert "is damaged" in damaged.output


def test_a_study_that_has_only_begun_has_a_page(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "tiny"))
    finish(store, TINY, {})
    text = page.files(trainings.opened([store.url]))["report.html"].decode()
    assert "No training has finished yet" in text
    assert "not run yet" in text
    Page(text)


def test_the_request_gives_back_every_experiment_of_the_study(tmp_path: Path) -> None:
    of = study(
        datasets=[{"name": "mnist", "num_train": 48}, {"name": "own", "url": "s3://bucket/own"}],
        methods=["linear", {"name": "lion", "label": "ours", "output": False, "train": {"lr": 0.1}}],
        seeds=[3, 4],
        scheduler={"name": "asha", "grace_rounds": 2},
        lottery={"prune": [0.5, 0.2, 0.1]},
    )
    store, asked = Store(str(tmp_path)), experiments(of)
    request.record(store, of, asked)
    found = request.recall(store)
    assert found.study == of
    assert [(e.name, e.digest, e.config(), e.num_rounds) for e in found.experiments] == [
        (e.name, e.digest, e.config(), e.num_rounds) for e in asked
    ]


def test_solves_that_did_not_converge_are_said(tiny: Store) -> None:
    each = next(each for each in experiments(TINY) if each.method.name == "lion")
    put(tiny, each, 0, 0.8, solves={"num": 60, "num_nonfinite": 1, "residual_max": 0.5, "share_unconverged": 0.25})
    text = page.files(trainings.opened([tiny.url]))["report.html"].decode()
    assert "lion on cifar, seed 0: 25.0% of 60 solves, worst residual 0.5" in text


@pytest.mark.skipif(browser.CHROMIUM is None, reason="no Chromium is installed here")
def test_a_real_browser_shows_it_without_errors_or_sideways_scrolling(tiny: Store, tmp_path: Path) -> None:
    broken = tmp_path / "broken.html"
    broken.write_text("<script>console.error('planted')</script>")
    assert any("planted" in line for line in browser.console(broken))
    page.write(trainings.opened([tiny.url]), str(tmp_path / "out"))
    file = tmp_path / "out" / "report.html"
    assert browser.console(file) == []
    for width in (390, 1280):
        scrolled, visible, _ = browser.widths(file, width)
        assert scrolled == visible == width
    browser.printed(file, tmp_path / "report.pdf")
    assert len(re.findall(rb"/Type\s*/Page\b", (tmp_path / "report.pdf").read_bytes())) >= 1
    assert json.loads(tiny.read("request.json") or b"{}")["study"]["study"] == "tiny"
