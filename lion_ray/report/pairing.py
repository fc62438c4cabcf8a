"""Paired differences of accuracies: seed by seed within a dataset, then over datasets, with 95 % intervals.

`lion_ray.report.comparison`, `ranking`, `scores` and `evidence` call it. Three questions have three intervals:

- **one dataset** (`on_one`): about other seeds and other test images of its kind. The scatter of the seeds'
  differences (Student's t, n = seeds) and the sampling error of the test split, which all seeds share, add in squares.
  The store does not hold which images each method classifies correctly, so the split's error is that of independent
  mistakes, sqrt(p(1-p)/N + q(1-q)/N) with N test images. This is an upper bound unless images that are hard for one
  method are easy for the other.
- **these sets** (`over_these`): about the mean over exactly these datasets. Their errors add in squares; the
  differences between the datasets do not enter.
- **sets like these** (`over_sets_like`): about other datasets. Student's t over the datasets' mean differences, n =
  datasets, because seeds are no datasets: 4 sets with 3 seeds each are 4 observations. Source for the dataset as the
  unit: Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006. The interval is never
  narrower than that about these sets.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction

from lion_ray.report.student_t import quantile

THESE, LIKE_THESE = "these sets", "sets like these"
NORMAL = 1.959964
LARGEST_SPLIT = 10**7
"""The largest supported number of test images: up to here a 64-bit float determines the share that it rounds."""
Accuracies = Mapping[tuple[str, int], float]
"""Test accuracies, 0 to 1, by dataset and seed."""
ABOUT = (
    "Intervals are 95 %. On one dataset: over its seeds (n) and the sampling of its test images. These sets: the mean "
    "of exactly these. Sets like these: Student's t over datasets (n), the only one that speaks of other datasets."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference with its 95 % interval, `low` to `high`, over `num` seeds or datasets.

    The ends are nan if there is one unit, because its scatter is unknown.
    """

    mean: float
    low: float
    high: float
    num: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """The differences of one dataset, one per seed, and the standard error from the size of its test split."""

    dataset: str
    differences: tuple[float, ...]
    split_error: float

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return statistics.fmean(self.differences)


def num_images(lines: Iterable[Accuracies]) -> dict[str, int]:
    """The number of test images of each dataset, as far as the accuracies show it.

    It is the least common denominator of all accuracies on the dataset, and so at most the true number.
    """
    counts: dict[str, int] = {}
    for line in lines:
        for (dataset, _), accuracy in line.items():
            part = Fraction(accuracy).limit_denominator(LARGEST_SPLIT).denominator
            counts[dataset] = min(math.lcm(counts.get(dataset, 1), part), LARGEST_SPLIT)
    return counts


def pair(one: Accuracies, other: Accuracies, images: Mapping[str, int]) -> list[Gap]:
    """The differences `one - other` on each dataset, over the seeds that both have.

    Args:
        one: the accuracies to subtract from.
        other: the accuracies that are subtracted.
        images: the number of test images of each dataset, from `num_images`.

    Returns:
        One `Gap` per dataset with a common seed, in the order of `other`.
    """
    common = [key for key in other if key in one]
    gaps = []
    for dataset in dict.fromkeys(key[0] for key in common):
        keys = [key for key in common if key[0] == dataset]
        means = [statistics.fmean(line[key] for key in keys) for line in (one, other)]
        variance = sum(mean * (1 - mean) for mean in means) / images[dataset]
        differences = tuple(one[key] - other[key] for key in keys)
        gaps.append(Gap(dataset=dataset, differences=differences, split_error=math.sqrt(max(0.0, variance))))
    return gaps


def on_one(gap: Gap) -> Difference:
    """The mean difference on one dataset, with the interval about other seeds and test images; nan for one seed."""
    num = len(gap.differences)
    return _around(gap.mean, math.hypot(_half(gap.differences), NORMAL * gap.split_error), num)


def over_these(gaps: Sequence[Gap]) -> Difference:
    """The mean difference over exactly these datasets; `num` counts them.

    Raises:
        ValueError: there are no datasets.
    """
    mean = _mean(gaps)
    halves = [math.hypot(_half(gap.differences), NORMAL * gap.split_error) for gap in gaps]
    return _around(mean, math.hypot(*halves) / len(gaps), len(gaps))


def over_sets_like(gaps: Sequence[Gap]) -> Difference:
    """The mean difference with the interval about datasets like these, from their scatter; nan for one dataset.

    Raises:
        ValueError: there are no datasets.
    """
    mean = _mean(gaps)
    if len(gaps) == 1:
        return _around(mean, math.nan, 1)
    half = _half([gap.mean for gap in gaps])
    these = over_these(gaps)
    known = 0.0 if math.isnan(these.high) else these.high - mean
    return _around(mean, max(half, known), len(gaps))


def sign(difference: Difference) -> int:
    """1 if the interval lies above 0, -1 if it lies below 0, and 0 if it holds 0 or is unknown."""
    return (difference.low > 0) - (difference.high < 0)


def scaled(difference: Difference, factor: float) -> Difference:
    """The difference in other units: a `factor` of 100 makes points of accuracies."""
    mean, low, high = (factor * value for value in (difference.mean, difference.low, difference.high))
    return Difference(mean=mean, low=low, high=high, num=difference.num)


def _mean(gaps: Sequence[Gap]) -> float:
    if not gaps:
        raise ValueError("no pair: the two have no dataset and seed in common")
    return statistics.fmean(gap.mean for gap in gaps)


def _half(values: Collection[float]) -> float:
    """Half the width of Student's t interval of the mean; nan for one value."""
    if len(values) < 2:
        return math.nan
    return quantile(0.95, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def _around(mean: float, half: float, num: int) -> Difference:
    return Difference(mean=mean, low=mean - half, high=mean + half, num=num)
