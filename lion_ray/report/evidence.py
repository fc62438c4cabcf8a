"""A finished lottery study as evidence: accuracy against density, and winning tickets against their controls.

`lottery` writes it. Figures are test accuracies in points (percent); pairs are of one dataset, method, round and seed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_label
from lion_ray.lottery import WINNING
from lion_ray.report.student import Difference, paired_difference

Series = tuple[str, str]  # the method's label and the ticket


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """The mean of some values and their standard deviation (n - 1); nan for one value."""

    mean: float
    deviation: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """Test accuracies, 0 to 1, by dataset, series, round and seed."""

    accuracies: Mapping[str, Mapping[Series, Mapping[int, Mapping[int, float]]]]
    densities: Mapping[int, float]

    @property
    def datasets(self) -> list[str]:
        """In the order of the study."""
        return list(self.accuracies)

    @property
    def series(self) -> list[Series]:
        """Each method's winning tickets, then its controls."""
        return list(dict.fromkeys(name for dataset in self.accuracies.values() for name in dataset))

    def points(self, dataset: str, series: Series) -> dict[int, Spread]:
        """Accuracy by round, over the seeds, in points."""
        rounds = self.accuracies[dataset].get(series, {})
        return {number: _spread([100 * value for value in seeds.values()]) for number, seeds in sorted(rounds.items())}

    def difference(self, one: Series, other: Series, number: int, datasets: Sequence[str]) -> Difference | None:
        """`one - other` in round `number` over all pairs of `datasets`, in points; None without pairs."""
        values = []
        for dataset in datasets:
            left = self.accuracies[dataset].get(one, {}).get(number, {})
            right = self.accuracies[dataset].get(other, {}).get(number, {})
            values += [100 * (left[seed] - right[seed]) for seed in sorted(left.keys() & right.keys())]
        return paired_difference(values) if values else None

    @property
    def comparisons(self) -> list[tuple[Series, Series]]:
        """Each method's winning tickets with its controls, then the first method's with the other methods'."""
        winning = [name for name in self.series if name[1] == WINNING]
        controls = [((method, WINNING), (method, ticket)) for method, ticket in self.series if ticket != WINNING]
        return controls + [(winning[0], other) for other in winning[1:]]


def sign(difference: Difference) -> int:
    """1 or -1 if the interval lies above or below 0, else 0."""
    return (difference.low > 0) - (difference.high < 0)


def collect(rows: Sequence[Mapping[str, Any]]) -> Evidence:
    """Evidence from the rows of `results.parquet`; methods that prune nothing have a round 0 only and are left out."""
    pruned = {row["method"] for row in rows if row["round"] > 0}
    accuracies: Any = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    densities: dict[int, float] = {}
    for row in (row for row in rows if row["method"] in pruned):
        dataset = dataset_label(DatasetConfig(**json.loads(row["config"])["dataset"]))
        accuracies[dataset][row["method"], row["ticket"]][row["round"]][row["seed"]] = row["test_accuracy"]
        densities[row["round"]] = row["density"]
    return Evidence(accuracies=accuracies, densities=dict(sorted(densities.items())))


def _spread(values: Sequence[float]) -> Spread:
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(mean=statistics.fmean(values), deviation=deviation)
