"""Comparison of a study's method entries and tickets with the dense round of one entry, in pairs of dataset and seed.

`lion-ray compare` and `lion_ray.report.lottery` call it. `lion_ray.report.pairing` holds the statistics and says what
the interval in each column is about.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict, cast

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


class FinalRow(TypedDict):
    """The columns of a final run's row that comparisons read; `config` is JSON, and accuracies are 0 to 1."""

    experiment: str
    dataset: str
    method: str
    seed: int
    round: int
    ticket: str
    density: float
    config: str
    test_accuracy: float
    test_accuracy_without_prompts: NotRequired[float | None]
    num_acting_params_without_classifier: NotRequired[int]


def read_rows(study_url: str) -> list[FinalRow]:
    """The rows of a study's `results.parquet` that have a test accuracy.

    Rows of search trials have none and are left out. So are, with a warning, rows that other code has trained (see
    `lion_ray.study.rounds.of_today`).

    Raises:
        FileNotFoundError: no run of the study has ended yet.
        ValueError: the file is damaged.
    """
    store = Store(study_url)
    payload, source = store.read(RESULTS), f"{store.url}/{RESULTS}"
    if payload is None:
        raise FileNotFoundError(f"{study_url} has no {RESULTS}: run the study to its end first")
    rows = [cast("FinalRow", row) for row in read_table(payload, source) if row["test_accuracy"] is not None]
    for row in rows:
        _check_config(row, source)
    return of_today(rows, study_url, config_of=lambda row: json.loads(row["config"]))


def _check_config(row: FinalRow, source: str) -> None:
    try:
        DatasetConfig(**json.loads(row["config"])["dataset"])
    except (ValueError, KeyError, TypeError, RecursionError) as damage:
        raise ValueError(f"{source} is damaged ({row['experiment']} has no configuration): {AGAIN}") from damage


def with_distinct_datasets(rows: Sequence[FinalRow]) -> list[FinalRow]:
    """The rows with one `dataset` text per dataset entry of the study.

    A name that stands for several entries, such as one set in two sizes, is replaced by a label with the difference.
    """
    configs = [DatasetConfig(**json.loads(row["config"])["dataset"]) for row in rows]
    names = [row["dataset"] for row in rows]
    labels, num_entries = dataset_labels(configs), Counter(name for name, _ in set(zip(names, configs, strict=True)))
    distinct = [labels[config] if num_entries[name] > 1 else name for name, config in zip(names, configs, strict=True)]
    return [{**row, "dataset": dataset} for row, dataset in zip(rows, distinct, strict=True)]


def compare(rows: Sequence[FinalRow], reference: str) -> dict[str, dict[str, Difference]]:
    """The test accuracies of every table row minus those of the reference's dense round.

    Args:
        rows: the rows of one study, with distinct datasets.
        reference: the label of the method entry to compare with.

    Returns:
        Differences on the scale 0 to 1, by table row and then by dataset, `these sets` and `sets like these`. Each
        entry's dense round, pruned rounds and controls are rows of their own.

    Raises:
        ValueError: the study has no entry `reference`.
    """
    lines = _lines(rows)
    base, images = _reference(rows, lines, reference), num_images(lines.values())
    return {name: _compared(pair(line, base, images)) for name, line in lines.items() if line is not base}


def _compared(gaps: Sequence[Gap]) -> dict[str, Difference]:
    differences = {gap.dataset: on_one(gap) for gap in gaps}
    return {**differences, THESE: over_these(gaps), LIKE_THESE: over_sets_like(gaps)} if gaps else differences


def text(rows: Sequence[FinalRow], reference: str) -> str:
    """The comparison as a Markdown table in points (1/100 of accuracy), and an explanation of its intervals.

    Args:
        rows: the rows of one study, with distinct datasets.
        reference: the label of the method entry to compare with.

    Raises:
        ValueError: the study has no entry `reference`.
    """
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


def _lines(rows: Sequence[FinalRow]) -> Mapping[str, Accuracies]:
    """The accuracies of each table row by dataset and seed: an entry's dense round, its tickets, then its controls."""
    order = {entry: place for place, entry in enumerate(dict.fromkeys(row["method"] for row in rows))}
    lines: dict[str, dict[tuple[str, int], float]] = {}
    for row in sorted(rows, key=lambda row: (order[row["method"]], row["ticket"] != WINNING, row["round"])):
        lines.setdefault(_name(row), {})[row["dataset"], row["seed"]] = row["test_accuracy"]
    return lines


def _reference(rows: Sequence[FinalRow], lines: Mapping[str, Accuracies], reference: str) -> Accuracies:
    entries = list(dict.fromkeys(row["method"] for row in rows))
    if reference not in entries:
        raise ValueError(f"'{reference}' is no method entry of this study; there are {', '.join(entries)}")
    return lines[reference]


def _name(row: FinalRow) -> str:
    """`lion`, `lion, round 4` or `lion, random ticket, round 4`."""
    ticket = "" if row["ticket"] == WINNING else f", {row['ticket'].replace('_', ' ')}"
    return f"{row['method']}{ticket}" + (f", round {row['round']}" if row["round"] else "")


def _cell(difference: Difference | None) -> str:
    if difference is None:
        return "missing"
    mean, low, high = (100 * value for value in (difference.mean, difference.low, difference.high))
    interval = "" if math.isnan(low) else f"{low:+.1f} to {high:+.1f}; "
    return f"{mean:+.1f} ({interval}n = {difference.num})"
