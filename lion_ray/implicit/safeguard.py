"""What keeps an accelerated solver (`anderson`, `broyden`) from harm: which evaluations count, and how far to go next.

A proposal is evaluated and judged, one sample at a time. One that is refused costs its evaluation and no more: the
solver goes back to the last point that counted, and keeps what it has learned on the way.

Where f contracts by a known factor the Picard step cannot fail: a proposal counts while it keeps to Picard's own
schedule, and after the n-th refusal 2^(n-1) Picard steps follow, so that N of them are outrun by at most log2(N + 1)
refusals (`steps.evaluations_needed`). Where nothing is known of f the Picard step may lead away from the equilibrium: a
proposal counts unless it leads up, and after one that does, shorter steps are tried from the last point that counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lion_ray.implicit.solvers import per_sample

SHORTEST = 0.02
"""Share of a step below which nothing shorter is tried: the next point counts, and the search goes on from there."""


@dataclass(frozen=True, kw_only=True)
class StallPatience:
    """How far up a proposal may lead where nothing is known of f.

    It counts if its distance is at most `factor` times the largest of the last `memory` that counted. After that the
    share of a step that is taken grows to `growth` times what it was, and at most to 1.
    """

    factor: float = 1.0
    memory: int = 1
    growth: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where each of B samples stands after an evaluation; distances are ||f(z) - z|| in the norm of the solve.

    point, error  (B, ...)   the last point that counted, as z or as f(z), whichever the solver steps from; f(z) - z.
    recent        (B, k)     distances of the last points that counted, the newest last.
    refused       (B,) bool  the last evaluation did not count.
    share         (B,)       how much of the next step is taken; 1 where f contracts.
    promise       (B,)       the distance that Picard would have reached; read where f contracts, as are the following.
    refusals      (B,) int64 so far.
    owed          (B,) int64 Picard steps that come next.
    """

    point: Tensor
    error: Tensor
    recent: Tensor
    refused: Tensor
    share: Tensor
    promise: Tensor
    refusals: Tensor
    owed: Tensor


def first(point: Tensor, error: Tensor, distance: Tensor) -> Standing:
    """After the first evaluation, which counts."""
    none = torch.zeros_like(distance, dtype=torch.int64)
    return Standing(
        point=point,
        error=error,
        recent=distance[:, None],
        refused=none.bool(),
        share=torch.ones_like(distance),
        promise=distance,
        refusals=none,
        owed=none,
    )


def judged(
    standing: Standing,
    point: Tensor,
    error: Tensor,
    distance: Tensor,
    *,
    contraction: float | None,
    patience: StallPatience,
) -> Standing:
    """After each further one, with what `Standing` says of it."""
    if contraction is None:
        counts, standing = _leads_down(standing, distance, patience)
    else:
        counts, standing = _keeps_the_schedule(standing, distance, contraction)
    recent = torch.cat([standing.recent, torch.where(counts, distance, standing.recent[:, -1])[:, None]], dim=1)
    return replace(
        standing,
        point=torch.where(per_sample(counts, point), point, standing.point),
        error=torch.where(per_sample(counts, error), error, standing.error),
        recent=recent[:, -patience.memory :],
        refused=~counts,
    )


def _leads_down(standing: Standing, distance: Tensor, patience: StallPatience) -> tuple[Tensor, Standing]:
    counts = (distance <= patience.factor * standing.recent.amax(1)) | (standing.share < SHORTEST)
    share = torch.where(counts, (patience.growth * standing.share).clamp_max(1), standing.share / 2)
    return counts, replace(standing, share=share)


def _keeps_the_schedule(standing: Standing, distance: Tensor, contraction: float) -> tuple[Tensor, Standing]:
    next_promise = contraction * standing.promise
    was_picard = standing.owed > 0
    counts = was_picard | ((distance <= next_promise) & (distance < standing.recent[:, -1]))
    owed = torch.where(counts, (standing.owed - 1).clamp_min(0), 2 ** standing.refusals.clamp_max(30))
    return counts, replace(
        standing,
        promise=torch.where(counts, next_promise, standing.promise),
        refusals=standing.refusals + (~counts).long(),
        owed=owed,
    )
