"""Means with their spread, and paired differences with an interval. Small samples: Student's t, never the normal."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence

# 97.5 % quantiles of Student's t with 1, 2, ... degrees of freedom; beyond, the last one (a little too wide).
T_975 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131]
T_975 += [2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """`count` values: their mean and their standard deviation (n - 1; NaN for one value)."""

    mean: float
    deviation: float
    count: int

    @property
    def half_interval(self) -> float:
        """Half the width of the mean's 95 % interval; infinite for one value."""
        if self.count < 2:
            return math.inf
        return T_975[min(self.count - 1, len(T_975)) - 1] * self.deviation / math.sqrt(self.count)

    @property
    def sign(self) -> int:
        """1 or -1 if the interval lies above or below 0, else 0."""
        return (self.mean > self.half_interval) - (self.mean < -self.half_interval)


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Spread(mean=statistics.fmean(values), deviation=deviation, count=len(values))
