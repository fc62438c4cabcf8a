"""Student's t distribution without a library: its probabilities as exact finite sums, and their inverse.

Source: Abramowitz and Stegun, Handbook of Mathematical Functions, equations 26.7.3 and 26.7.4.
`lion_ray.report.pairing` makes its intervals with it.
"""

from __future__ import annotations

import functools
import math


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
    """The `t` whose central probability is `confidence`, for a two-sided interval with `freedom` degrees of freedom."""
    low, high = 0.0, 1.0
    while central_probability(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if central_probability(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2
