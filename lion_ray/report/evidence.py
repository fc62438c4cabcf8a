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
from functools import cached_property
from typing import Any

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_labels
from lion_ray.lottery import WINNING
from lion_ray.report.pairing import (
    LIKE_THESE,
    THESE,
    Difference,
    num_images,
    on_one,
    over_sets_like,
    over_these,
    pair,
    scaled,
)

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

    def differences(self, one: Series, other: Series, number: int) -> dict[str, Difference]:
        """`one - other` in round `number`, in points: by dataset, over these sets and over sets like these."""
        gaps = pair(self._line(one, number), self._line(other, number), self._images)
        found = {gap.dataset: on_one(gap) for gap in gaps}
        found |= {THESE: over_these(gaps), LIKE_THESE: over_sets_like(gaps)} if gaps else {}
        return {name: scaled(difference, 100) for name, difference in found.items()}

    def _line(self, series: Series, number: int) -> dict[tuple[str, int], float]:
        return {
            (dataset, seed): value
            for dataset, by in self.accuracies.items()
            for seed, value in sorted(by.get(series, {}).get(number, {}).items())
        }

    @cached_property
    def _images(self) -> dict[str, int]:
        return num_images(self._line(series, number) for series in self.series for number in self.densities)

    @property
    def comparisons(self) -> list[tuple[Series, Series]]:
        """Each method's winning tickets with its controls, then the first method's with the other methods'."""
        winning = [name for name in self.series if name[1] == WINNING]
        controls = [((method, WINNING), (method, ticket)) for method, ticket in self.series if ticket != WINNING]
        return controls + [(winning[0], other) for other in winning[1:]]


def collect(rows: Sequence[Mapping[str, Any]]) -> Evidence:
    """Evidence from the rows of `results.parquet`; methods that prune nothing have a round 0 only and are left out."""
    pruned = {row["method"] for row in rows if row["round"] > 0}
    accuracies: Any = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    densities: dict[int, float] = {}
    configs = [DatasetConfig(**json.loads(row["config"])["dataset"]) for row in rows]
    labels = dataset_labels(configs)
    for row, config in zip(rows, configs, strict=True):
        if row["method"] not in pruned:
            continue
        accuracies[labels[config]][row["method"], row["ticket"]][row["round"]][row["seed"]] = row["test_accuracy"]
        densities[row["round"]] = row["density"]
    return Evidence(accuracies=accuracies, densities=dict(sorted(densities.items())))


def _spread(values: Sequence[float]) -> Spread:
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(mean=statistics.fmean(values), deviation=deviation)
