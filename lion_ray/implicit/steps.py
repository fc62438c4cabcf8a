"""How many evaluations an equilibrium can need: by the bound on its cell where there is one, else by habit.

`layer` takes as many unless it is told otherwise, and a study that asks for fewer is refused with the number.
"""

from __future__ import annotations

import math

DEFAULT_STEPS = 60
"""Evaluations allowed where fewer would do, and where nothing is known."""


def evaluations_needed(contraction: float, tolerance: float, *, accelerated: bool = False) -> int:
    """Evaluations after which every sample is within the relative tolerance, from the start at f(0) on.

    With z* the equilibrium and c the contraction, the k-th evaluation has ||f(z) - z|| <= c^k ||f(0)|| and
    ||f(0)|| <= (1 + c) ||z*||, so that `2 c^k <= tolerance` would do up to terms of the tolerance's own order; 4 in the
    place of 2 leaves half of the tolerance for rounding, whose share of the distance is at most 2 r / (1 - c) for
    evaluations that are exact to r. In fp32, with r of 4 units in the last place (5e-7), that is within half of 1e-4 up
    to c = 0.98. Below what rounding allows no number of steps helps.

    An accelerated solver, whose proposals are refused where they fall behind Picard's schedule, adds one evaluation
    for each refusal, at most log2 of the steps (see `safeguard`).
    """
    steps = 1 if contraction == 0 else max(1, math.ceil(math.log(min(tolerance / 4, 1)) / math.log(contraction)) + 1)
    return steps + math.ceil(math.log2(steps + 1)) if accelerated else steps


def evaluations_allowed(contraction: float | None, tolerance: float, *, accelerated: bool = False) -> int:
    """`DEFAULT_STEPS`, or as many as the contraction needs; None: nothing is known of it."""
    if contraction is None:
        return DEFAULT_STEPS
    return max(DEFAULT_STEPS, evaluations_needed(contraction, tolerance, accelerated=accelerated))
