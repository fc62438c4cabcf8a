"""The gain of tickets: their accuracy, their accuracy with prompts switched off, and that of a linear probe.

A classifier adapts to the prompts that it is trained with. So the accuracy without prompts only shows that they act;
the gain is the difference from the method `linear` under the same settings. `lion_ray.report.lottery` writes the table.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_labels
from lion_ray.lottery import WINNING
from lion_ray.report.comparison import FinalRow

OFF: Final = "test_accuracy_without_prompts"
SIZE: Final = "num_acting_params_without_classifier"
HEADS = ("dataset", "method", "density", "weights that act", "test", "prompts off", "linear")
CAPTION = (
    "Winning tickets as they are, with their prompts switched off (the frozen model under the classifier that was "
    "trained with them), and a linear probe under the same settings; means over seeds of test accuracy in points. A "
    "classifier adapts to its prompts: what they are worth is the difference from linear. Weights are those on paths "
    "from input to output, without the classifier's."
)


def rows_of(rows: Sequence[FinalRow]) -> list[list[str]]:
    """The cells of one line per dataset, method and round, under `HEADS`; empty if no method has prompts."""
    lines: dict[tuple[str, str, int], list[FinalRow]] = defaultdict(list)
    probes: dict[str, list[float]] = defaultdict(list)
    configs = [DatasetConfig(**json.loads(row["config"])["dataset"]) for row in rows]
    labels = dataset_labels(configs)
    for row, config in zip(rows, configs, strict=True):
        dataset = labels[config]
        if is_probe(row):
            probes[dataset].append(row["test_accuracy"])
        elif row.get(OFF) is not None and row["ticket"] == WINNING:
            lines[dataset, row["method"], row["round"]].append(row)
    return [
        [
            dataset,
            method,
            f"{statistics.fmean(row['density'] for row in line):.3f}",
            f"{statistics.fmean(row[SIZE] for row in line):,.0f}",
            f"{100 * statistics.fmean(row['test_accuracy'] for row in line):.1f}",
            f"{100 * statistics.fmean(row[OFF] or 0.0 for row in line):.1f}",
            f"{100 * statistics.fmean(probes[dataset]):.1f}" if probes[dataset] else "–",
        ]
        for (dataset, method, _), line in lines.items()
    ]


def is_probe(row: FinalRow) -> bool:
    """Whether the row is one of the method `linear`."""
    return bool(json.loads(row["config"])["method"]["name"] == "linear")
