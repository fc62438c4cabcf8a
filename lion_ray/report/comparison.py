"""Method entries and their tickets against a reference's dense round, pair by pair: dataset and seed of one study.

`pairing` has the statistics: what the interval in each column is about.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_labels
from lion_ray.lottery import WINNING
from lion_ray.report.escaping import markdown_row
from lion_ray.report.pairing import (
    ABOUT,
    LIKE_THESE,
    THESE,
    Accuracies,
    Difference,
    Gap,
    num_images,
    on_one,
    over_sets_like,
    over_these,
    pair,
)
from lion_ray.report.tables import AGAIN, read_table
from lion_ray.store import Store
from lion_ray.store.layout import RESULTS
from lion_ray.study.rounds import of_today

Row = Mapping[str, Any]


def read_rows(study_url: str) -> list[dict[str, Any]]:
    """A study's `results.parquet` as rows, without those of a search, which have no test figure, or another revision.

    Raises:
        FileNotFoundError: no run has ended there yet.
    """
    store = Store(study_url)
    payload, source = store.read(RESULTS), f"{store.url}/{RESULTS}"
    if payload is None:
        raise FileNotFoundError(f"{study_url} has no {RESULTS}: run the study to its end first")
    rows = [row for row in read_table(payload, source) if row["test_accuracy"] is not None]
    for row in rows:
        _check_config(row, source)
    return of_today(rows, study_url, config_of=lambda row: json.loads(row["config"]))


def _check_config(row: Row, source: str) -> None:
    try:
        DatasetConfig(**json.loads(row["config"])["dataset"])
    except (ValueError, KeyError, TypeError, RecursionError) as damage:
        raise ValueError(f"{source} is damaged ({row['experiment']} has no configuration): {AGAIN}") from damage


def told_apart(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The rows with their datasets' names; where one stands for several, as a set in two sizes, with what differs."""
    configs = [DatasetConfig(**json.loads(row["config"])["dataset"]) for row in rows]
    names = [str(row["dataset"]) for row in rows]
    labels, forms = dataset_labels(configs), Counter(name for name, _ in set(zip(names, configs, strict=True)))
    told = [labels[config] if forms[name] > 1 else name for name, config in zip(names, configs, strict=True)]
    return [{**row, "dataset": dataset} for row, dataset in zip(rows, told, strict=True)]


def compare(rows: Sequence[Row], reference: str) -> dict[str, dict[str, Difference]]:
    """By entry, its later rounds and controls apart, then by dataset, `these sets` and `sets like these`: test accuracy
    minus dense `reference`.

    Raises:
        ValueError: the study has no such entry.
    """
    lines = _lines(rows)
    base, images = _reference(rows, lines, reference), num_images(lines.values())
    return {name: _compared(pair(found, base, images)) for name, found in lines.items() if found is not base}


def _compared(gaps: Sequence[Gap]) -> dict[str, Difference]:
    found = {gap.dataset: on_one(gap) for gap in gaps}
    return {**found, THESE: over_these(gaps), LIKE_THESE: over_sets_like(gaps)} if gaps else found


def text(rows: Sequence[Row], reference: str) -> str:
    """The comparison as a Markdown table, in points (1/100 of accuracy), and what its intervals are about."""
    compared, base = compare(rows, reference), _reference(rows, _lines(rows), reference)
    names = list(dict.fromkeys(dataset for dataset, _ in base))
    datasets = [*names, THESE, LIKE_THESE]
    head = [markdown_row(["test accuracy, points", *datasets]), f"|---|{'---|' * len(datasets)}"]
    own = [statistics.fmean(value for (dataset, _), value in base.items() if dataset == name) for name in names]
    means = [f"{100 * value:.1f}" for value in (*own, statistics.fmean(own))]
    lines = [markdown_row([reference, *means, ""])]
    for entry, by in compared.items():
        lines.append(markdown_row([f"{entry} minus {reference}", *(_cell(by.get(name)) for name in datasets)]))
    return "\n".join([*head, *lines, "", ABOUT])


def _lines(rows: Sequence[Row]) -> Mapping[str, Accuracies]:
    """Accuracies by dataset and seed of each entry's dense round, then of its tickets; entries in their order."""
    order = {entry: place for place, entry in enumerate(dict.fromkeys(row["method"] for row in rows))}
    lines: dict[str, dict[tuple[str, int], float]] = {}
    for row in sorted(rows, key=lambda row: (order[row["method"]], row["ticket"] != WINNING, row["round"])):
        key = str(row["dataset"]), int(row["seed"])
        lines.setdefault(_name(row), {})[key] = float(row["test_accuracy"])
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
