"""Scores as files for programs (CSV, Parquet) and for papers (Markdown, LaTeX). `lion_ray.report.page` writes them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from lion_ray.report.escaping import csv_cell, markdown_row, tex
from lion_ray.report.formatting import (
    interval_text,
    mean_text,
    method_text,
    missing_text,
    number_text,
    plus_minus,
    rank_text,
)
from lion_ray.report.pairing import Difference
from lion_ray.report.ranking import BEST, TIED
from lion_ray.report.scores import SIZES, Score


def files(name: str, scores: Sequence[Score], studies: Sequence[str]) -> dict[str, bytes]:
    """The files `<name>.csv`, `.parquet`, `.md` and `.tex`, by their names.

    Args:
        name: the files' name without its ending.
        scores: the lines of the tables.
        studies: the names of the studies; the first is written where a line names none, as in a report on one study.
    """
    rows = [row for score in scores for row in _records(score, studies)]
    table, texts = pa.Table.from_pylist(rows) if rows else pa.table({}), _texts(scores)
    parquet, text = io.BytesIO(), io.StringIO()
    pq.write_table(table, parquet)
    writer = csv.DictWriter(text, table.column_names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return {
        f"{name}.csv": text.getvalue().encode(),
        f"{name}.parquet": parquet.getvalue(),
        f"{name}.md": markdown(*texts).encode(),
        f"{name}.tex": latex(*texts).encode(),
    }


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with a line of heads."""
    return "\n".join(markdown_row(list(line)) for line in (heads, ["---"] * len(heads), *rows)) + "\n"


def latex(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A LaTeX `tabular` that needs the package booktabs only."""
    lines = [" & ".join(tex(cell) for cell in line) + r" \\" for line in (heads, *rows)]
    columns = "l" + "r" * (len(heads) - 1)
    middle = [r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", *middle, r"\end{tabular}"]) + "\n"


def marked(text: str, mark: str) -> str:
    """The text of a cell with its mark: bold for the best line, ≈ in front for a tied one."""
    return f"**{text}**" if mark == BEST else f"≈ {text}" if mark == TIED else text


def _texts(scores: Sequence[Score]) -> tuple[list[str], list[list[str]]]:
    groups, datasets = (scores[0].group_means, scores[0].cells) if scores else ({}, {})
    heads = ["method", "ticket", "round", "density", *(f"{name} mean" for name in groups), "group mean", "task mean"]
    heads += ["95 % interval, these sets", "mean rank", "parameters", "without classifier", *datasets, "missing"]
    return heads, [_text_row(score) for score in scores]


def _text_row(score: Score) -> list[str]:
    sizes = score.sizes
    return [
        method_text(score.line),
        score.line.ticket,
        str(score.line.round),
        f"{sizes['density']:.3f}" if sizes else "–",
        *(mean_text(mean) for mean in score.group_means.values()),
        mean_text(score.group_mean),
        marked(mean_text(score.task_mean), score.mark),
        interval_text(score),
        rank_text(score),
        *(number_text(sizes.get(name)) for name in SIZES[1:]),
        *(marked(plus_minus(cell), cell.mark) for cell in score.cells.values()),
        missing_text(score.missing),
    ]


def _records(score: Score, studies: Sequence[str]) -> list[dict[str, object]]:
    """One row per dataset, then one per group, then the rows of the group mean and the task mean."""
    line: dict[str, object] = {
        "study": score.line.study or studies[0],
        "method": score.line.method,
        "ticket": score.line.ticket,
        "round": score.line.round,
        **{name: score.sizes.get(name) for name in SIZES},
    }
    records = [line | _of_cell(score, name) for name in score.cells]
    means = [(f"{name} mean", mean) for name, mean in score.group_means.items()]
    for name, mean in (*means, ("group mean", score.group_mean), ("task mean", score.task_mean)):
        is_task_mean = name == "task mean"
        records.append(
            line
            | _figures(name, "", mean.value, None, score.interval if is_task_mean else None)
            | {"num": mean.num, "asked": mean.asked, "mark": score.mark if is_task_mean else ""}
            | {"rank": score.rank if is_task_mean else None, "missing": ""}
        )
    return records


def _of_cell(score: Score, name: str) -> dict[str, object]:
    cell = score.cells[name]
    figures = _figures(name, score.groups[name], cell.mean.value, cell.deviation, cell.interval)
    counts = {"num": cell.mean.num, "asked": cell.mean.asked, "mark": cell.mark}
    return figures | counts | {"rank": None, "missing": missing_text(cell.missing)}


def _figures(
    name: str, group: str, mean: float | None, deviation: float | None, interval: Difference | None
) -> dict[str, object]:
    return {
        "over": name,
        "group": group,
        "mean": mean,
        "deviation": deviation,
        "low": interval.low if interval else None,
        "high": interval.high if interval else None,
    }
