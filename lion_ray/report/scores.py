"""Test accuracies of lines by dataset, in points: means over seeds, datasets and groups, and what is missing of each.

`ranking` compares the lines with each other; tables and plots show them.
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
    """A mean over `num` of the `asked` values that it should be of; None over nothing.

    `runs` counts the trainings behind it, done and asked for: a dataset's value may lack some of its seeds.
    """

    value: float | None
    num: int
    asked: int
    runs: tuple[int, int] = (0, 0)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return self.num == self.asked > 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableCell:
    """One line on one dataset: accuracies by seed, of `asked` seeds, and why others are missing; `images` of test."""

    values: Mapping[int, float]
    asked: int
    missing: Mapping[str, int]
    images: int = 1
    mark: str = ""

    @property
    def mean(self) -> Mean:
        """Over the seeds."""
        return _mean(self.values.values(), self.asked)

    @property
    def deviation(self) -> float | None:
        """Standard deviation (n - 1) over the seeds; None for one."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    @property
    def interval(self) -> Difference | None:
        """About other seeds and other test images of this dataset's kind; None for one seed."""
        return scaled(on_one(self.gap("")), 100) if len(self.values) > 1 else None

    def gap(self, dataset: str) -> Gap:
        """The accuracies as differences from none, 0 to 1."""
        shares = tuple(value / 100 for value in self.values.values())
        share = statistics.fmean(shares)
        return Gap(dataset=dataset, differences=shares, split_error=math.sqrt(share * (1 - share) / self.images))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Score:
    """One line on all datasets. `sizes` hold the means over its trainings of what is only described."""

    line: ResultLine
    cells: Mapping[str, TableCell]
    groups: Mapping[str, str]
    sizes: Mapping[str, float]
    rank: float | None = None
    mark: str = ""

    @cached_property
    def task_mean(self) -> Mean:
        """Over the datasets, each alike."""
        return self._over(self.cells)

    @cached_property
    def group_means(self) -> dict[str, Mean]:
        """Over the datasets of each group."""
        names = dict.fromkeys(self.groups.values())
        return {name: self._over([each for each, group in self.groups.items() if group == name]) for name in names}

    @cached_property
    def group_mean(self) -> Mean:
        """Over the groups, each alike."""
        values = [mean.value for mean in self.group_means.values() if mean.value is not None]
        return _mean(values, len(self.group_means), self.trainings)

    @cached_property
    def interval(self) -> Difference | None:
        """About the mean over exactly these datasets (see `pairing`); None where one of them has a single seed."""
        cells = {name: cell for name, cell in self.cells.items() if cell.values}
        if not cells or any(len(cell.values) < 2 for cell in cells.values()):
            return None
        return scaled(over_these([cell.gap(name) for name, cell in cells.items()]), 100)

    @property
    def trainings(self) -> tuple[int, int]:
        """How many are done, of how many."""
        return _runs(self.cells.values())

    @property
    def is_complete(self) -> bool:
        """Whether every dataset has every seed."""
        return all(cell.mean.is_complete for cell in self.cells.values())

    @property
    def missing(self) -> Counter[str]:
        """How many trainings, by reason; datasets of other studies count as one each."""
        found: Counter[str] = Counter()
        for cell in self.cells.values():
            found.update(cell.missing)
        return found

    @property
    def pairs(self) -> dict[tuple[str, int], float]:
        """Every accuracy, 0 to 1, by dataset and seed."""
        return {(name, seed): value / 100 for name, cell in self.cells.items() for seed, value in cell.values.items()}

    def _over(self, datasets: Collection[str]) -> Mean:
        cells = [self.cells[name] for name in datasets]
        means = [cell.mean.value for cell in cells]
        return _mean([value for value in means if value is not None], len(cells), _runs(cells))


def scores(slots: Iterable[Training], groups: Mapping[str, str]) -> list[Score]:
    """A line each, in the order of the slots; those that only chose settings are left out."""
    by_line: dict[ResultLine, dict[str, list[Training]]] = defaultdict(lambda: defaultdict(list))
    for slot in slots:
        if slot.stage != SEARCH:
            by_line[slot.line][slot.dataset].append(slot)
    every = [slot for by_dataset in by_line.values() for found in by_dataset.values() for slot in found if slot.record]
    images = num_images({(slot.dataset, slot.seed): _accuracy(slot)} for slot in every)
    return [_score(line, by_dataset, groups, images) for line, by_dataset in by_line.items()]


def _score(
    line: ResultLine, by_dataset: Mapping[str, Sequence[Training]], groups: Mapping[str, str], images: Mapping[str, int]
) -> Score:
    cells = {name: _cell(by_dataset.get(name, ()), images.get(name, 1)) for name in groups}
    every = [slot.record.metrics for slots in by_dataset.values() for slot in slots if slot.record]
    sizes = {name: statistics.fmean(getattr(each, name) for each in every) for name in SIZES if every}
    return Score(line=line, cells=cells, groups=groups, sizes=sizes)


def _cell(slots: Sequence[Training], images: int) -> TableCell:
    values = {slot.seed: 100 * _accuracy(slot) for slot in slots if slot.record}
    missing = reasons(slots) if slots else {NOT_ASKED: 1}
    return TableCell(values=values, asked=len(slots), missing=missing, images=images)


def _accuracy(slot: Training) -> float:
    assert slot.record is not None
    assert slot.record.metrics.test_accuracy is not None, "a final run reads test"
    return slot.record.metrics.test_accuracy


def _runs(cells: Collection[TableCell]) -> tuple[int, int]:
    return sum(len(cell.values) for cell in cells), sum(cell.asked for cell in cells)


def _mean(values: Iterable[float], asked: int, runs: tuple[int, int] = (0, 0)) -> Mean:
    listed = list(values)
    return Mean(value=statistics.fmean(listed) if listed else None, num=len(listed), asked=asked, runs=runs)
