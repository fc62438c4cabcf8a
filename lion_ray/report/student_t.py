"""Student's t without a library: its probabilities by exact finite sums, and their inverse.

Abramowitz & Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
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
    """The `t` whose central probability is `confidence`, as for a two-sided interval."""
    low, high = 0.0, 1.0
    while central_probability(high, freedom) < confidence:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if central_probability(middle, freedom) < confidence else (low, middle)
    return (low + high) / 2
