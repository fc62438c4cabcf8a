"""Method entries against a reference, pair by pair: the same dataset, seed, round and ticket of one study.

The interval is Student's t of the paired differences in test accuracy. Differences over seeds of one dataset share its
test images, and those over datasets are few: read an interval as what the runs themselves scatter, not as a law.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.report.student import Difference, paired_difference
from lion_ray.report.tables import PARQUET, read_table
from lion_ray.store import Store

ALL = "all"
Row = Mapping[str, Any]


def read_rows(study_url: str) -> list[dict[str, Any]]:
    """A study's `results.parquet` as rows, without those of a search, which have no test figure.

    Raises:
        FileNotFoundError: no run has ended there yet.
    """
    payload = Store(study_url).read(PARQUET)
    if payload is None:
        raise FileNotFoundError(f"{study_url} has no {PARQUET}: run the study to its end first")
    return [row for row in read_table(payload) if row["test_accuracy"] is not None]


def compare(rows: Sequence[Row], reference: str) -> dict[str, dict[str, Difference]]:
    """By method entry, then by dataset and `all` of them: test accuracy minus that of `reference`.

    Raises:
        ValueError: the study has no such entry.
    """
    entries = list(dict.fromkeys(str(row["method"]) for row in rows))
    if reference not in entries:
        raise ValueError(f"'{reference}' is no method entry of this study; there are {', '.join(entries)}")
    accuracy = {(*_pair(row), row["method"]): float(row["test_accuracy"]) for row in rows}
    found: dict[str, dict[str, list[float]]] = {entry: defaultdict(list) for entry in entries if entry != reference}
    for (*pair, entry), value in accuracy.items():
        base = accuracy.get((*pair, reference))
        if entry != reference and base is not None:
            for dataset in (str(pair[0]), ALL):
                found[entry][dataset].append(value - base)
    return {e: {name: paired_difference(d) for name, d in by.items()} for e, by in found.items()}


def text(rows: Sequence[Row], reference: str) -> str:
    """The comparison as a Markdown table, in points (1/100 of accuracy)."""
    compared = compare(rows, reference)
    accuracies: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["method"] == reference:
            accuracies[str(row["dataset"])].append(100 * float(row["test_accuracy"]))
    datasets = [*accuracies, ALL]
    every = [value for values in accuracies.values() for value in values]
    head = [f"| test accuracy, points | {' | '.join(datasets)} |", f"|---|{'---|' * len(datasets)}"]
    means = [f"{statistics.fmean(accuracies[name] if name != ALL else every):.1f}" for name in datasets]
    lines = [f"| {reference} | {' | '.join(means)} |"]
    for entry, by in compared.items():
        lines.append(f"| {entry} minus {reference} | {' | '.join(_cell(by.get(name)) for name in datasets)} |")
    return "\n".join([*head, *lines])


def _cell(difference: Difference | None) -> str:
    if difference is None:
        return "missing"
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    return f"{mean:+.1f} ({low:+.1f} to {high:+.1f}; n = {difference.num})"


def _pair(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("dataset", "seed", "round", "ticket"))
