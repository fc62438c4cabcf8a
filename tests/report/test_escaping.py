"""Names from studies and stores do nothing in the programs that read a report's files."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from lion_ray.report import exports, page, trainings
from lion_ray.report.escaping import csv_cell, markdown_row, tex
from lion_ray.store import Store
from tests.support.made_studies import finish, study


@pytest.mark.parametrize("text", ['=HYPERLINK("http://x")', "+1", "-2", "@SUM(A1)", "\t=1", "\r=1", " =1"])
def test_no_text_is_a_formula_in_a_spreadsheet(text: str) -> None:
    cell = csv_cell(text)
    assert cell == f"'{text}"


@pytest.mark.parametrize("value", [-1.5, None, 3, "lion, round 1", "", "2 × failed: =x"])
def test_numbers_and_plain_texts_stay(value: object) -> None:
    assert csv_cell(value) == value


def test_the_exported_tables_escape_what_names_hold() -> None:
    name = "=x|\\[a](b)<i>`\n_%"
    assert exports.markdown(["method"], [[name]]).splitlines()[2] == "| =x\\|\\\\\\[a\\](b)&lt;i>\\` _% |"
    assert markdown_row(["**1.5**"]) == "| **1.5** |"
    assert r"=x|\textbackslash{}[a](b)<i>` \_\%" in exports.latex(["method"], [[name]])
    assert tex("**a_b**") == r"\textbf{a\_b}"
    assert next(csv.reader(io.StringIO("'=1,-2"))) == ["'=1", "-2"]


def test_no_label_of_a_study_is_a_formula_in_main_csv(tmp_path: Path) -> None:
    label = '=HYPERLINK("http://x","y")'
    own = study(datasets=["mnist"], methods=[{"name": "linear", "label": label}])
    finish(Store(str(tmp_path / "tiny")), own, {("mnist", label, 0, 0): 0.5})
    files = page.files(trainings.opened([str(tmp_path / "tiny")]))
    rows = list(csv.DictReader(io.StringIO(files["main.csv"].decode())))
    assert {row["method"] for row in rows} == {f"'{label}"}
