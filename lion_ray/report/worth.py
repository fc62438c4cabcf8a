"""What tickets are worth: as they are, with their prompts switched off, and a linear probe beside them.

A classifier adapts to the prompts that it is trained with, so accuracy without them says that they act, not what they
are worth: that is the difference from `linear` under the same settings. `lottery` puts it into its page.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_labels
from lion_ray.lottery import WINNING

OFF, SIZE = "test_accuracy_without_prompts", "num_acting_params_without_classifier"
HEADS = ("dataset", "method", "density", "weights that act", "test", "prompts off", "linear")
CAPTION = (
    "Winning tickets as they are, with their prompts switched off (the frozen model under the classifier that was "
    "trained with them), and a linear probe under the same settings; means over seeds of test accuracy in points. A "
    "classifier adapts to its prompts: what they are worth is the difference from linear. Weights are those on paths "
    "from input to output, without the classifier's."
)
Row = Mapping[str, Any]


def rows_of(rows: Sequence[Row]) -> list[list[str]]:
    """A line per dataset, method and round of those that have prompts to switch off; empty if none has been asked."""
    lines: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
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
            f"{_mean(found, 'density'):.3f}",
            f"{_mean(found, SIZE):,.0f}",
            *(f"{100 * _mean(found, name):.1f}" for name in ("test_accuracy", OFF)),
            f"{100 * statistics.fmean(probes[dataset]):.1f}" if probes[dataset] else "–",
        ]
        for (dataset, method, _), found in lines.items()
    ]


def is_probe(row: Row) -> bool:
    """Whether it is a linear probe's."""
    return bool(json.loads(row["config"])["method"]["name"] == "linear")


def _mean(rows: Sequence[Row], name: str) -> float:
    return statistics.fmean(row[name] for row in rows)
