"""Paired differences and their interval by Student's t, without a library: exact finite sums and their inverse.

Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean of `num` paired differences and its interval; without a second pair there is none (nan)."""

    mean: float
    low: float
    high: float
    num: int


def paired_difference(differences: Sequence[float], *, confidence: float = 0.95) -> Difference:
    """Student's t interval of the mean. ValueError if there is no pair."""
    if not differences:
        raise ValueError("no pair: the two have no dataset and seed in common")
    mean, num = statistics.fmean(differences), len(differences)
    if num == 1:
        return Difference(mean=mean, low=math.nan, high=math.nan, num=num)
    half = quantile(confidence, num - 1) * statistics.stdev(differences) / math.sqrt(num)
    return Difference(mean=mean, low=mean - half, high=mean + half, num=num)


def central_probability(t: float, freedom: int) -> float:
    """The probability that |T| <= `t` under `freedom` degrees of freedom."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    term = total = 1.0 if freedom % 2 == 0 else math.cos(angle)
    for k in range(1 + freedom % 2, freedom - 2, 2):
        term *= square * k / (k + 1)
        total += term
    if freedom % 2 == 0:
        return sine * total
    return 2 / math.pi * (angle + (sine * total if freedom > 1 else 0.0))


@functools.lru_cache(maxsize=4096)
def quantile(confidence: float, freedom: int) -> float:
    """The `t` whose central probability is `confidence`, as for a two-sided interval."""
    low, high = 0.0, 1.0
    while central_probability(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if central_probability(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2
