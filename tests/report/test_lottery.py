"""A finished lottery study as a table, a verdict and a plot: the arithmetic on rows whose answer is known."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lion_ray.cli import commands
from lion_ray.report import lottery, worth
from lion_ray.report.comparison import FinalRow
from lion_ray.report.evidence import collect
from lion_ray.report.pairing import LIKE_THESE, THESE, sign
from lion_ray.store import Store

DENSITIES = {0: 1.0, 1: 0.3, 2: 0.05}
LION, RANDOM, ROBUST = ("lion", "winning"), ("lion", "random_ticket"), ("lion robust", "winning")


def row(dataset: str, method: str, ticket: str, seed: int, number: int, accuracy: float) -> FinalRow:
    return {
        "config": json.dumps({"dataset": {"name": dataset, "num_train": 400}, "method": {"name": "linear"}}),
        "experiment": dataset,
        "dataset": dataset,
        "method": method,
        "ticket": ticket,
        "seed": seed,
        "round": number,
        "density": DENSITIES[number],
        "test_accuracy": accuracy,
    }


def rows(lead: Mapping[int, float]) -> list[FinalRow]:
    """Winning tickets lead random ones by `lead` points by round; the seeds differ by much more, pair by pair alike."""
    found = [row("mnist", "linear", "winning", 0, 0, 0.5)]
    for dataset in ("mnist", "textile"):
        for seed in (0, 1, 2):
            for number in DENSITIES:
                base = 0.6 + 0.1 * seed + 0.00001  # of 100,000 test images
                found.append(row(dataset, *LION, seed, number, base + 0.0001 * seed))
                found.append(row(dataset, *ROBUST, seed, number, base))
                if number:
                    found.append(row(dataset, *RANDOM, seed, number, base - lead[number] / 100))
    return found


def test_pairs_tell_apart_what_means_hide() -> None:
    evidence = collect(rows({1: 1.0, 2: 0.0}))
    assert evidence.series == [LION, ROBUST, RANDOM]
    assert evidence.datasets == ["mnist(num_train=400)", "textile(num_train=400)"]
    leads = evidence.differences(LION, RANDOM, 1)
    assert {name: found.num for name, found in leads.items()} == {
        **dict.fromkeys(evidence.datasets, 3),
        THESE: 2,
        LIKE_THESE: 2,
    }
    assert leads[LIKE_THESE].mean == leads[THESE].mean == pytest.approx(1.01)
    assert {sign(found) for found in leads.values()} == {1}
    assert evidence.points("mnist(num_train=400)", LION)[1].deviation == pytest.approx(10.01)
    assert evidence.differences(LION, RANDOM, 0) == {}
    assert evidence.comparisons == [(LION, RANDOM), (LION, ROBUST)]


def test_the_verdict_says_where_tickets_win_and_where_they_do_not() -> None:
    evidence = collect(rows({1: 1.0, 2: -2.0}))
    said = lottery.verdict(evidence, LION, RANDOM)
    assert "is better in 4 of 8 comparisons (mnist(num_train=400) at 0.3; textile(num_train=400) at 0.3;" in said
    assert "is worse in 4 of 8" in said
    assert "cannot be told apart in 0 of 8" in said


def study(tmp_path: Path, found: list[FinalRow]) -> str:
    payload = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(found), payload)
    Store(str(tmp_path / "study")).write("results.parquet", payload.getvalue())
    return str(tmp_path / "study")


def test_one_command_writes_the_table_and_the_plot_twice_the_same(tmp_path: Path) -> None:
    url, written = study(tmp_path, rows({1: 1.0, 2: 0.0})), []
    for folder in (tmp_path / "a", tmp_path / "b"):
        printed = CliRunner().invoke(commands.main, ["evidence", url, str(folder)])
        assert printed.exit_code == 0
        assert printed.output == f"{folder}/lottery.md\n{folder}/lottery.svg\n"
        written.append([(folder / name).read_bytes() for name in ("lottery.md", "lottery.svg")])
    assert written[0] == written[1]
    text = written[0][0].decode()
    assert "| mnist(num_train=400) | 0.300 | 70.0 ± 10.0 | 70.0 ± 10.0 | 69.0 ± 10.0 |" in text
    assert "**+1.0 (+0." in text
    assert "| density | mnist(num_train=400) | textile(num_train=400) | these sets | sets like these |" in text
    assert written[0][1].count(b"random ticket</text>") == 1  # in the legend, once


def test_a_study_without_results_or_pruned_rounds_is_one_line(tmp_path: Path) -> None:
    missing = CliRunner().invoke(commands.main, ["evidence", str(tmp_path / "none"), str(tmp_path)])
    assert missing.exit_code == 2
    assert "run the study to its end first" in missing.output
    dense = CliRunner().invoke(commands.main, ["evidence", study(tmp_path, rows({1: 1.0, 2: 0.0})[:1]), str(tmp_path)])
    assert dense.exit_code == 2
    assert "no method of this study has a pruned round" in dense.output


def test_tickets_stand_beside_themselves_without_prompts_and_beside_the_linear_probe() -> None:
    def told(method: str, number: int, accuracy: float, off: float | None, size: int) -> FinalRow:
        config = {"dataset": {"name": "mnist"}, "method": {"name": method}}
        found = row("mnist", method, "winning", 0, number, accuracy)
        return {**found, "config": json.dumps(config), worth.OFF: off, worth.SIZE: size}

    dense, ticket = told("lion", 0, 0.75, 0.5, 1000), told("lion", 1, 0.875, 0.25, 300)
    control: FinalRow = {**ticket, "ticket": "random_ticket"}
    lines = worth.rows_of([told("linear", 0, 0.5, None, 0), dense, ticket, control])
    assert lines == [
        ["mnist", "lion", "1.000", "1,000", "75.0", "50.0", "50.0"],
        ["mnist", "lion", "0.300", "300", "87.5", "25.0", "50.0"],
    ]
    assert worth.rows_of([dense])[0][-1] == "–"
