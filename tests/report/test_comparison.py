"""Paired differences between method entries, and the command that prints them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lion_ray.cli import commands
from lion_ray.report import comparison
from lion_ray.report.pairing import LIKE_THESE, THESE
from lion_ray.report.student_t import quantile

ACCURACY = {
    "lion": {("a", 0): 0.5, ("a", 1): 0.6, ("b", 0): 0.9, ("b", 1): 0.8},
    "linear": {("a", 0): 0.52, ("a", 1): 0.66, ("b", 0): 0.9, ("b", 1): 0.8, ("b", 2): 0.1},
}


def rows() -> list[comparison.FinalRow]:
    return [
        {
            "method": method,
            "dataset": dataset,
            "seed": seed,
            "round": 0,
            "ticket": "winning",
            "test_accuracy": value,
            "experiment": f"{dataset}/{method}/{seed}",
            "density": 1.0,
            "config": "{}",
        }
        for method, by in ACCURACY.items()
        for (dataset, seed), value in by.items()
    ]


@pytest.mark.parametrize(
    ("freedom", "tabled"), [(1, 12.7062), (2, 4.30265), (5, 2.57058), (10, 2.22814), (94, 1.98552)]
)
def test_students_t_is_that_of_the_tables(freedom: int, tabled: float) -> None:
    assert quantile(0.95, freedom) == pytest.approx(tabled, rel=2e-6)


def test_only_pairs_that_both_have_count() -> None:
    found = comparison.compare(rows(), "lion")["linear"]
    assert found["a"].mean == pytest.approx(0.04)
    assert found["b"].mean == 0
    assert found["b"].low < 0 < found["b"].high, "equal with each seed, but on few images"
    assert (found["b"].num, found[THESE].num, found[LIKE_THESE].num) == (2, 2, 2)
    assert found[THESE].mean == found[LIKE_THESE].mean == pytest.approx(0.02)


def test_tickets_are_lines_of_their_own_held_against_the_dense_reference() -> None:
    rounds: list[comparison.FinalRow]
    rounds = [{**row, "round": 1, "test_accuracy": 0.1} for row in rows() if row["method"] == "lion"]
    found = comparison.compare([*rounds, *rows()], "lion")
    assert list(found) == ["lion, round 1", "linear"]
    assert found["lion, round 1"]["a"].mean == pytest.approx(0.1 - 0.55)
    assert found["linear"] == comparison.compare(rows(), "lion")["linear"]
    said = comparison.text([*rounds, *rows()], "lion").splitlines()
    assert said[2] == "| lion | 55.0 | 85.0 | 70.0 |  |"


def test_one_pair_has_no_interval() -> None:
    assert "| -2.0 (n = 1) |" in comparison.text([row for row in rows() if row["seed"] == 0], "linear")


def write(folder: Path, of_seed: dict[object, dict[str, int]]) -> None:
    """As a run leaves it; `of_seed` are a dataset's settings."""
    full = [
        {
            **row,
            "experiment": "mnist",
            "density": 1.0,
            "config": json.dumps(
                {"dataset": {"name": "mnist", **of_seed.get(row["seed"], {})}, "method": {"name": "linear"}}
            ),
        }
        for row in rows()
    ]
    pq.write_table(pa.Table.from_pylist(full), folder / "results.parquet")


def test_one_set_in_two_sizes_is_two_datasets(tmp_path: Path) -> None:
    write(tmp_path, {0: {"num_train": 50}, 1: {"num_train": 100}})
    read = comparison.with_distinct_datasets(comparison.read_rows(str(tmp_path)))
    assert {row["dataset"] for row in read if row["seed"] < 2} == {"mnist(num_train=50)", "mnist(num_train=100)"}
    one_seed: list[comparison.FinalRow]
    one_seed = [{**row, "seed": 0} for row in read if row["seed"] < 2 and row["method"] in ACCURACY]
    a = [row for row in one_seed if row["test_accuracy"] in (0.5, 0.6, 0.52, 0.66)]
    found = comparison.compare(a, "lion")["linear"]
    assert found["mnist(num_train=50)"].mean == pytest.approx(0.02)
    assert found["mnist(num_train=100)"].mean == pytest.approx(0.06)
    assert found[LIKE_THESE].num == 2
    assert found[LIKE_THESE].mean == pytest.approx(0.04)


def test_the_command_prints_a_table_and_one_line_for_a_wrong_name(tmp_path: Path) -> None:
    write(tmp_path, {})
    printed = CliRunner().invoke(commands.main, ["compare", str(tmp_path), "--reference", "lion"])
    assert printed.exit_code == 0
    assert printed.output.splitlines()[2] == "| lion | 55.0 | 85.0 | 70.0 |  |"
    assert "| linear minus lion | +4.0 (" in printed.output
    wrong = CliRunner().invoke(commands.main, ["compare", str(tmp_path), "--reference", "loin"])
    assert wrong.exit_code == 2
    assert "'loin' is no method entry of this study; there are lion, linear" in wrong.output
    empty = CliRunner().invoke(commands.main, ["compare", str(tmp_path / "none"), "--reference", "lion"])
    assert empty.exit_code == 2
    assert "run the study to its end first" in empty.output
