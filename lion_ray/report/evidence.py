"""`Evidence`: the test accuracies of a finished lottery study, by density and against the controls.

`lion_ray.report.lottery` writes it as text and plot. Its methods return accuracies in points (percent). Differences are
paired by dataset, round and seed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import cached_property

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_labels
from lion_ray.lottery import WINNING
from lion_ray.report.comparison import FinalRow
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

TicketSeries = tuple[str, str]
"""One line of the plot: the label of a method entry, and `winning` or the name of a control."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """A mean and the standard deviation (n - 1) of its values, which is nan for one value."""

    mean: float
    deviation: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """The test accuracies of a lottery study.

    `accuracies`, 0 to 1, are nested by dataset, series, round and seed. `densities` holds the density of each round.
    """

    accuracies: Mapping[str, Mapping[TicketSeries, Mapping[int, Mapping[int, float]]]]
    densities: Mapping[int, float]

    @property
    def datasets(self) -> list[str]:
        """The datasets in the order of the study."""
        return list(self.accuracies)

    @property
    def series(self) -> list[TicketSeries]:
        """All series: each method's winning tickets, then its controls."""
        return list(dict.fromkeys(name for dataset in self.accuracies.values() for name in dataset))

    def points(self, dataset: str, series: TicketSeries) -> dict[int, Spread]:
        """The accuracy over the seeds in points, by round."""
        rounds = self.accuracies[dataset].get(series, {})
        return {number: _spread([100 * value for value in seeds.values()]) for number, seeds in sorted(rounds.items())}

    def differences(self, one: TicketSeries, other: TicketSeries, number: int) -> dict[str, Difference]:
        """The paired differences `one - other` in points.

        Args:
            one: the series to subtract from.
            other: the series that is subtracted.
            number: the round of both.

        Returns:
            The differences by dataset, then over `these sets` and `sets like these`; empty if the two have no pair.
        """
        gaps = pair(self._line(one, number), self._line(other, number), self._images)
        differences = {gap.dataset: on_one(gap) for gap in gaps}
        differences |= {THESE: over_these(gaps), LIKE_THESE: over_sets_like(gaps)} if gaps else {}
        return {name: scaled(difference, 100) for name, difference in differences.items()}

    def _line(self, series: TicketSeries, number: int) -> dict[tuple[str, int], float]:
        return {
            (dataset, seed): value
            for dataset, by in self.accuracies.items()
            for seed, value in sorted(by.get(series, {}).get(number, {}).items())
        }

    @cached_property
    def _images(self) -> dict[str, int]:
        return num_images(self._line(series, number) for series in self.series for number in self.densities)

    @property
    def comparisons(self) -> list[tuple[TicketSeries, TicketSeries]]:
        """The pairs to compare.

        Each method's winning tickets are compared with its controls, and the first method's with the other methods'.
        """
        winning = [name for name in self.series if name[1] == WINNING]
        controls = [((method, WINNING), (method, ticket)) for method, ticket in self.series if ticket != WINNING]
        return controls + [(winning[0], other) for other in winning[1:]]


def collect(rows: Sequence[FinalRow]) -> Evidence:
    """The evidence in the rows of `results.parquet`. Methods without a pruned round are left out."""
    pruned = {row["method"] for row in rows if row["round"] > 0}
    accuracies: dict[str, dict[TicketSeries, dict[int, dict[int, float]]]] = {}
    densities: dict[int, float] = {}
    configs = [DatasetConfig(**json.loads(row["config"])["dataset"]) for row in rows]
    labels = dataset_labels(configs)
    for row, config in zip(rows, configs, strict=True):
        if row["method"] not in pruned:
            continue
        by_series = accuracies.setdefault(labels[config], {})
        by_round = by_series.setdefault((row["method"], row["ticket"]), {})
        by_round.setdefault(row["round"], {})[row["seed"]] = row["test_accuracy"]
        densities[row["round"]] = row["density"]
    return Evidence(accuracies=accuracies, densities=dict(sorted(densities.items())))


def _spread(values: Sequence[float]) -> Spread:
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(mean=statistics.fmean(values), deviation=deviation)
