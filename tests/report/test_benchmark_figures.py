"""The figures of docs/benchmarks.md are those that the benchmarks wrote down."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks import figures

FOLDER = Path(__file__).parent.parent.parent


def test_the_page_of_benchmarks_shows_the_benchmarks_own_tables() -> None:
    page = (FOLDER / "docs" / "benchmarks.md").read_text()
    assert figures.tables(json.loads(figures.FILE.read_text())) in page


def test_the_readmes_sentence_of_speed_spans_the_same_table() -> None:
    found = json.loads(figures.FILE.read_text())
    steps = [row for setting in figures.SETTINGS for row in found[f"step {setting}"].values()]
    ratios = [row["lion"]["wall_ratio"] for row in steps]
    said = f"costs {min(ratios):.3f} to {max(ratios):.3f} times that of a learned additive image"
    assert said in " ".join((FOLDER / "README.md").read_text().split())
