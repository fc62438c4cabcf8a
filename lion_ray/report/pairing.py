"""Differences of two lines of results, paired: seed by seed within a dataset, then over datasets. Intervals are 95 %.

What an interval is about decides what it must contain:

- **one dataset** (`on_one`): other seeds, and other test images of its kind. The scatter of the seeds' differences
  (Student's t, n = seeds) and the sampling error of the test split, which all seeds share, add in squares. Which images
  the two get right is not stored, so the split's error is taken as if they erred independently of each other,
  sqrt(p(1-p)/N + q(1-q)/N) with N test images: an upper bound as long as what is hard for one is not easy for another.
- **these sets** (`over_these`): the mean over exactly these datasets. Their errors add in squares; how the datasets
  differ from each other does not enter.
- **sets like these** (`over_sets_like`): Student's t over the datasets' mean differences, n = datasets. Seeds are no
  datasets: 4 sets with 3 seeds each are 4 observations. Source for the dataset as the unit: Demsar, "Statistical
  comparisons of classifiers over multiple data sets", JMLR 2006. It is never narrower than that about these sets.
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
"""Shares of so many images are told apart by their 53 bits, and no test split is larger."""
Accuracies = Mapping[tuple[str, int], float]
"""Test accuracies, 0 to 1, by dataset and seed."""
ABOUT = (
    "Intervals are 95 %. On one dataset: over its seeds (n) and the sampling of its test images. These sets: the mean "
    "of exactly these. Sets like these: Student's t over datasets (n), the only one that speaks of other datasets."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference and its interval over `num` units; nan where nothing is known of their scatter."""

    mean: float
    low: float
    high: float
    num: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gap:
    """One dataset's differences by seed, and the standard error that its test split of so many images brings."""

    dataset: str
    differences: tuple[float, ...]
    split_error: float

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return statistics.fmean(self.differences)


def num_images(lines: Iterable[Accuracies]) -> dict[str, int]:
    """Test images of each dataset: the least common denominator of all accuracies on it, at most the true number."""
    found: dict[str, int] = {}
    for line in lines:
        for (dataset, _), accuracy in line.items():
            part = Fraction(accuracy).limit_denominator(LARGEST_SPLIT).denominator
            found[dataset] = min(math.lcm(found.get(dataset, 1), part), LARGEST_SPLIT)
    return found


def pair(one: Accuracies, other: Accuracies, images: Mapping[str, int]) -> list[Gap]:
    """`one - other` on each dataset where both have a seed in common; `images` as `num_images` counts them."""
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
    """About one dataset: other seeds and other test images of its kind. One seed says nothing of seeds (nan)."""
    num = len(gap.differences)
    return _around(gap.mean, math.hypot(_half(gap.differences), NORMAL * gap.split_error), num)


def over_these(gaps: Sequence[Gap]) -> Difference:
    """About the mean over exactly these datasets; `num` counts them. ValueError if there are none."""
    mean = _mean(gaps)
    halves = [math.hypot(_half(gap.differences), NORMAL * gap.split_error) for gap in gaps]
    return _around(mean, math.hypot(*halves) / len(gaps), len(gaps))


def over_sets_like(gaps: Sequence[Gap]) -> Difference:
    """About datasets like these, by their scatter; one dataset says nothing of others (nan). ValueError for none."""
    mean = _mean(gaps)
    if len(gaps) == 1:
        return _around(mean, math.nan, 1)
    half = _half([gap.mean for gap in gaps])
    these = over_these(gaps)
    known = 0.0 if math.isnan(these.high) else these.high - mean
    return _around(mean, max(half, known), len(gaps))


def sign(difference: Difference) -> int:
    """1 or -1 if the interval lies above or below 0, else 0."""
    return (difference.low > 0) - (difference.high < 0)


def scaled(difference: Difference, factor: float) -> Difference:
    """The same in other units, such as points."""
    mean, low, high = (factor * value for value in (difference.mean, difference.low, difference.high))
    return Difference(mean=mean, low=low, high=high, num=difference.num)


def _mean(gaps: Sequence[Gap]) -> float:
    if not gaps:
        raise ValueError("no pair: the two have no dataset and seed in common")
    return statistics.fmean(gap.mean for gap in gaps)


def _half(values: Collection[float]) -> float:
    """Half of Student's t interval of the mean; nan for one value."""
    if len(values) < 2:
        return math.nan
    return quantile(0.95, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))


def _around(mean: float, half: float, num: int) -> Difference:
    return Difference(mean=mean, low=mean - half, high=mean + half, num=num)
