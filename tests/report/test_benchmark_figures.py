"""README's figures are those that the benchmarks wrote down."""

from __future__ import annotations

import json
from pathlib import Path

from tests.benchmarks import figures


def test_the_readme_shows_the_benchmarks_own_table() -> None:
    readme = (Path(__file__).parent.parent.parent / "README.md").read_text()
    assert figures.tables(json.loads(figures.FILE.read_text())) in readme
