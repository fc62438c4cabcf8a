"""How many evaluations a solve can need, by the bound of its cell.

`layer` and `gradients` take this number as their default limit. `lion_ray.methods.solve_settings` refuses a study file
that asks for fewer and names the number.
"""

from __future__ import annotations

import math

DEFAULT_STEPS = 60
"""The limit of evaluations where fewer would suffice, and where no contraction factor is known."""


def evaluations_needed(contraction: float, tolerance: float, *, accelerated: bool = False) -> int:
    """The number of evaluations after which every sample is within the relative tolerance, from the start f(0).

    With z* the equilibrium and c the contraction, the k-th evaluation has ||f(z) - z|| <= c^k ||f(0)|| and
    ||f(0)|| <= (1 + c) ||z*||. So `2 c^k <= tolerance` suffices up to terms of the tolerance's own order. The factor 4
    instead of 2 leaves half of the tolerance for rounding. If evaluations are exact to r, rounding adds at most
    2 r / (1 - c) to the distance. In fp32, with r of 4 units in the last place (5e-7), this is within half of 1e-4 up
    to c = 0.98. No number of steps reaches a tolerance below the rounding error.

    The proposals of an accelerated solver are rejected if they fall behind Picard's schedule. Each rejection adds one
    evaluation, and there are at most log2 as many as steps (see `safeguard`).

    Args:
        contraction: the factor c in [0, 1) by which f contracts.
        tolerance: largest relative residual.
        accelerated: whether the solver is accelerated (`Solver.is_accelerated`).
    """
    steps = 1 if contraction == 0 else max(1, math.ceil(math.log(min(tolerance / 4, 1)) / math.log(contraction)) + 1)
    return steps + math.ceil(math.log2(steps + 1)) if accelerated else steps


def evaluations_allowed(contraction: float | None, tolerance: float, *, accelerated: bool = False) -> int:
    """The default limit of evaluations: `DEFAULT_STEPS`, or more if the contraction factor needs more.

    Args:
        contraction: the factor c in [0, 1) by which f contracts; None if no factor is known.
        tolerance: largest relative residual.
        accelerated: whether the solver is accelerated (`Solver.is_accelerated`).
    """
    if contraction is None:
        return DEFAULT_STEPS
    return max(DEFAULT_STEPS, evaluations_needed(contraction, tolerance, accelerated=accelerated))
