"""Scores of the report's table lines: test accuracies in points by dataset, their means, and what is missing.

`lion_ray.report.ranking` compares the lines with each other; `figures`, `exports` and `page` show them.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property

from lion_ray.report.pairing import Difference, Gap, num_images, on_one, over_these, scaled
from lion_ray.report.trainings import SEARCH, ResultLine, Training, reasons

SIZES = ("density", "num_acting_params", "num_acting_params_without_classifier")
NOT_ASKED = "not in this study"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mean:
    """A mean over `num` of the `asked` values that it should be over; its value is None if there are none.

    `runs` counts the trainings behind it, finished and asked for, because a dataset's value may lack some of its seeds.
    """

    value: float | None
    num: int
    asked: int
    runs: tuple[int, int] = (0, 0)

    @property
    def is_complete(self) -> bool:
        """Whether no value is missing."""
        return self.num == self.asked > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableCell:
    """One table line on one dataset.

    `values` holds the test accuracy in points by seed. `asked` is the number of seeds, `missing` counts the reasons of
    missing ones, and `images` is the number of test images.
    """

    values: Mapping[int, float]
    asked: int
    missing: Mapping[str, int]
    images: int = 1
    mark: str = ""

    @property
    def mean(self) -> Mean:
        """The mean over the seeds."""
        return _mean(self.values.values(), self.asked)

    @property
    def deviation(self) -> float | None:
        """The standard deviation (n - 1) over the seeds; None for fewer than two."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def interval(self) -> Difference | None:
        """The 95 % interval about other seeds and other test images of this dataset; None for fewer than two seeds."""
        return scaled(on_one(self.gap("")), 100) if len(self.values) > 1 else None

    def gap(self, dataset: str) -> Gap:
        """The accuracies, 0 to 1, in the form of differences, so that `pairing` can make their interval."""
        shares = tuple(value / 100 for value in self.values.values())
        share = statistics.fmean(shares)
        return Gap(dataset=dataset, differences=shares, split_error=math.sqrt(share * (1 - share) / self.images))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """One table line on all datasets.

    `cells` and `groups` are by the dataset's label. `sizes` holds the means of density and parameter counts over the
    line's trainings; it is empty before the first result.
    """

    line: ResultLine
    cells: Mapping[str, TableCell]
    groups: Mapping[str, str]
    sizes: Mapping[str, float]
    rank: float | None = None
    mark: str = ""

    @cached_property
    def task_mean(self) -> Mean:
        """The mean over the datasets, each with the same weight."""
        return self._over(self.cells)

    @cached_property
    def group_means(self) -> dict[str, Mean]:
        """The mean over the datasets of each group."""
        names = dict.fromkeys(self.groups.values())
        return {name: self._over([each for each, group in self.groups.items() if group == name]) for name in names}

    @cached_property
    def group_mean(self) -> Mean:
        """The mean over the groups, each with the same weight."""
        values = [mean.value for mean in self.group_means.values() if mean.value is not None]
        return _mean(values, len(self.group_means), self.trainings)

    @cached_property
    def interval(self) -> Difference | None:
        """The 95 % interval of the mean over exactly these datasets; None if one of them has a single seed."""
        cells = {name: cell for name, cell in self.cells.items() if cell.values}
        if not cells or any(len(cell.values) < 2 for cell in cells.values()):
            return None
        return scaled(over_these([cell.gap(name) for name, cell in cells.items()]), 100)

    @property
    def trainings(self) -> tuple[int, int]:
        """The numbers of finished trainings and of all trainings."""
        return _runs(self.cells.values())

    @property
    def is_complete(self) -> bool:
        """Whether no seed is missing on any dataset."""
        return all(cell.mean.is_complete for cell in self.cells.values())

    @property
    def missing(self) -> Counter[str]:
        """The number of missing trainings by reason. A dataset that the study does not have counts as one."""
        reasons: Counter[str] = Counter()
        for cell in self.cells.values():
            reasons.update(cell.missing)
        return reasons

    @property
    def pairs(self) -> dict[tuple[str, int], float]:
        """All accuracies, 0 to 1, by dataset and seed."""
        return {(name, seed): value / 100 for name, cell in self.cells.items() for seed, value in cell.values.items()}

    def _over(self, datasets: Collection[str]) -> Mean:
        cells = [self.cells[name] for name in datasets]
        means = [cell.mean.value for cell in cells]
        return _mean([value for value in means if value is not None], len(cells), _runs(cells))


def scores(trainings: Iterable[Training], groups: Mapping[str, str]) -> list[Score]:
    """The score of each table line, in the order of the trainings. Trainings of a search are left out.

    Args:
        trainings: the trainings of all lines.
        groups: the group of each dataset by its label; a line has a cell for each of them.
    """
    by_line: dict[ResultLine, dict[str, list[Training]]] = defaultdict(lambda: defaultdict(list))
    for training in trainings:
        if training.stage != SEARCH:
            by_line[training.line][training.dataset].append(training)
    cells = [cell for by_dataset in by_line.values() for cell in by_dataset.values()]
    finished = [training for cell in cells for training in cell if training.record]
    images = num_images({(training.dataset, training.seed): _accuracy(training)} for training in finished)
    return [_score(line, by_dataset, groups, images) for line, by_dataset in by_line.items()]


def _score(
    line: ResultLine, by_dataset: Mapping[str, Sequence[Training]], groups: Mapping[str, str], images: Mapping[str, int]
) -> Score:
    cells = {name: _cell(by_dataset.get(name, ()), images.get(name, 1)) for name in groups}
    records = [training.record for trainings in by_dataset.values() for training in trainings if training.record]
    metrics = [record.metrics for record in records]
    sizes = {name: statistics.fmean(getattr(each, name) for each in metrics) for name in SIZES if metrics}
    return Score(line=line, cells=cells, groups=groups, sizes=sizes)


def _cell(trainings: Sequence[Training], images: int) -> TableCell:
    values = {training.seed: 100 * _accuracy(training) for training in trainings if training.record}
    missing = reasons(trainings) if trainings else {NOT_ASKED: 1}
    return TableCell(values=values, asked=len(trainings), missing=missing, images=images)


def _accuracy(training: Training) -> float:
    assert training.record is not None
    assert training.record.metrics.test_accuracy is not None, "a final run reads the test split"
    return training.record.metrics.test_accuracy


def _runs(cells: Collection[TableCell]) -> tuple[int, int]:
    return sum(len(cell.values) for cell in cells), sum(cell.asked for cell in cells)


def _mean(values: Iterable[float], asked: int, runs: tuple[int, int] = (0, 0)) -> Mean:
    listed = list(values)
    return Mean(value=statistics.fmean(listed) if listed else None, num=len(listed), asked=asked, runs=runs)
