"""Method entries and their tickets against a reference's dense round, pair by pair: dataset and seed of one study.

The interval is Student's t of the paired differences in test accuracy. Differences over seeds of one dataset share its
test images, and those over datasets are few: read an interval as what the runs themselves scatter, not as a law.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_label
from lion_ray.lottery import WINNING
from lion_ray.report.escaping import markdown_row
from lion_ray.report.student import Difference, paired_difference
from lion_ray.report.tables import PARQUET, read_table
from lion_ray.results import of_today
from lion_ray.store import Store

ALL = "all"
Row = Mapping[str, Any]
Accuracies = dict[tuple[str, int], float]
"""By dataset and seed."""


def read_rows(study_url: str) -> list[dict[str, Any]]:
    """A study's `results.parquet` as rows, without those of a search, which have no test figure, or another revision.

    Raises:
        FileNotFoundError: no run has ended there yet.
    """
    payload = Store(study_url).read(PARQUET)
    if payload is None:
        raise FileNotFoundError(f"{study_url} has no {PARQUET}: run the study to its end first")
    rows = [row for row in read_table(payload) if row["test_accuracy"] is not None]
    return of_today(rows, study_url, config_of=lambda row: json.loads(row["config"]))


def told_apart(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their datasets' names; where one stands for several, as a set in two sizes, with its settings."""
    labels = [dataset_label(DatasetConfig(**json.loads(row["config"])["dataset"])) for row in rows]
    names = [str(row["dataset"]) for row in rows]
    forms = Counter(name for name, _ in set(zip(names, labels, strict=True)))
    told = [label if forms[name] > 1 else name for name, label in zip(names, labels, strict=True)]
    return [{**row, "dataset": dataset} for row, dataset in zip(rows, told, strict=True)]


def compare(rows: Sequence[Row], reference: str) -> dict[str, dict[str, Difference]]:
    """By entry, its later rounds and controls apart, then by dataset and `all`: test accuracy minus dense `reference`.

    Raises:
        ValueError: the study has no such entry.
    """
    lines = _lines(rows)
    base = _reference(rows, lines, reference)
    return {
        name: {
            dataset: paired_difference(gaps)
            for dataset in (*dict.fromkeys(pair[0] for pair in base), ALL)
            if (gaps := [found[p] - base[p] for p in found if p in base and dataset in (p[0], ALL)])
        }
        for name, found in lines.items()
        if found is not base
    }


def text(rows: Sequence[Row], reference: str) -> str:
    """The comparison as a Markdown table, in points (1/100 of accuracy)."""
    compared, base = compare(rows, reference), _reference(rows, _lines(rows), reference)
    datasets = [*dict.fromkeys(dataset for dataset, _ in base), ALL]
    head = [markdown_row(["test accuracy, points", *datasets]), f"|---|{'---|' * len(datasets)}"]
    own = [[value for (dataset, _), value in base.items() if name in (dataset, ALL)] for name in datasets]
    lines = [markdown_row([reference, *(f"{100 * statistics.fmean(values):.1f}" for values in own)])]
    for entry, by in compared.items():
        lines.append(markdown_row([f"{entry} minus {reference}", *(_cell(by.get(name)) for name in datasets)]))
    return "\n".join([*head, *lines])


def _lines(rows: Sequence[Row]) -> dict[str, Accuracies]:
    """Accuracies by dataset and seed of each entry's dense round, then of its tickets; entries in their order."""
    order = {entry: place for place, entry in enumerate(dict.fromkeys(row["method"] for row in rows))}
    lines: dict[str, Accuracies] = {}
    for row in sorted(rows, key=lambda row: (order[row["method"]], row["ticket"] != WINNING, row["round"])):
        pair = str(row["dataset"]), int(row["seed"])
        lines.setdefault(_name(row), {})[pair] = float(row["test_accuracy"])
    return lines


def _reference(rows: Sequence[Row], lines: Mapping[str, Accuracies], reference: str) -> Accuracies:
    entries = list(dict.fromkeys(str(row["method"]) for row in rows))
    if reference not in entries:
        raise ValueError(f"'{reference}' is no method entry of this study; there are {', '.join(entries)}")
    return lines[reference]


def _name(row: Row) -> str:
    """`lion`, `lion, round 4` or `lion, random ticket, round 4`."""
    ticket = "" if row["ticket"] == WINNING else f", {str(row['ticket']).replace('_', ' ')}"
    return f"{row['method']}{ticket}" + (f", round {row['round']}" if row["round"] else "")


def _cell(difference: Difference | None) -> str:
    if difference is None:
        return "missing"
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    interval = "" if math.isnan(low) else f"{low:+.1f} to {high:+.1f}; "
    return f"{mean:+.1f} ({interval}n = {difference.num})"
