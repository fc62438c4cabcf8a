"""The safeguard of the accelerated solvers `anderson` and `broyden`: which evaluations are accepted, what comes next.

Each sample is judged alone. A proposal is evaluated and then accepted or rejected. A rejected proposal only costs its
evaluation: the solver returns to the last accepted point and keeps the differences that it has learned.

If f contracts by a known factor, the Picard step cannot fail. A proposal is then accepted while it keeps up with
Picard's own schedule of distances. After the n-th rejection 2^(n-1) Picard steps follow, so N of them are exceeded by
at most log2(N + 1) rejections (`steps.evaluations_needed`). If no factor is known, the Picard step may lead away from
the equilibrium. A proposal is then accepted unless the distance grows (see `AcceptanceRule`). After a rejection shorter
steps are tried from the last accepted point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lion_ray.implicit.solvers import per_sample

SHORTEST = 0.02
"""The smallest share of a step that is tried. The point after it is accepted, and the search goes on from there."""


@dataclass(frozen=True, kw_only=True)
class AcceptanceRule:
    """How much a proposal may increase the distance ||f(z) - z|| where no contraction factor is known.

    It is a nonmonotone rule (Grippo, Lampariello and Lucidi, SIAM J. Numer. Anal. 1986).

    Attributes:
        factor, memory: a proposal is accepted if its distance is at most `factor` times the largest of the last
            `memory` accepted distances.
        growth: after an accepted proposal the share of a step that is taken grows by this factor, up to 1.
    """

    factor: float = 1.0
    memory: int = 1
    growth: float = 2.0


@dataclass(frozen=True, kw_only=True)
class SafeguardState:
    """The safeguard of each of B samples after an evaluation. A distance is ||f(z) - z|| in the norm of the solve.

    Attributes:
        point: (B, ...) the last accepted point; Broyden steps from its z, Anderson from its f(z).
        error: (B, ...) f(z) - z of the last accepted point.
        accepted_distances: (B, k) distances of the last accepted points, the newest last.
        rejected: (B,) bool, whether the last evaluation was rejected.
        step_share: (B,) the share of the next step that is taken; 1 where f contracts.
        picard_distance: (B,) the distance that Picard would have reached. It is only read where f contracts, as are
            the following two.
        num_rejections: (B,) int64, rejections so far.
        picard_steps_left: (B,) int64, how many Picard steps follow before the next proposal.
    """

    point: Tensor
    error: Tensor
    accepted_distances: Tensor
    rejected: Tensor
    step_share: Tensor
    picard_distance: Tensor
    num_rejections: Tensor
    picard_steps_left: Tensor


def initial_safeguard(point: Tensor, error: Tensor, distance: Tensor) -> SafeguardState:
    """The state after the first evaluation, which is always accepted.

    Args:
        point: (B, ...) the point that the solver steps from, z or f(z).
        error: (B, ...) f(z) - z.
        distance: (B,) the norm of `error`.
    """
    zeros = torch.zeros_like(distance, dtype=torch.int64)
    return SafeguardState(
        point=point,
        error=error,
        accepted_distances=distance[:, None],
        rejected=zeros.bool(),
        step_share=torch.ones_like(distance),
        picard_distance=distance,
        num_rejections=zeros,
        picard_steps_left=zeros,
    )


def updated_safeguard(
    state: SafeguardState,
    point: Tensor,
    error: Tensor,
    distance: Tensor,
    *,
    contraction: float | None,
    acceptance: AcceptanceRule,
) -> SafeguardState:
    """The state after each further evaluation.

    Args:
        state: the state after the evaluation before.
        point: (B, ...) the point that the solver would step from, z or f(z).
        error: (B, ...) f(z) - z.
        distance: (B,) the norm of `error`.
        contraction: the factor < 1 by which f contracts; None if no factor is known.
        acceptance: the rule for proposals where no factor is known.
    """
    if contraction is None:
        accepted, state = _judged_by_distance(state, distance, acceptance)
    else:
        accepted, state = _judged_by_schedule(state, distance, contraction)
    newest = torch.where(accepted, distance, state.accepted_distances[:, -1])[:, None]
    return replace(
        state,
        point=torch.where(per_sample(accepted, point), point, state.point),
        error=torch.where(per_sample(accepted, error), error, state.error),
        accepted_distances=torch.cat([state.accepted_distances, newest], dim=1)[:, -acceptance.memory :],
        rejected=~accepted,
    )


def _judged_by_distance(
    state: SafeguardState, distance: Tensor, acceptance: AcceptanceRule
) -> tuple[Tensor, SafeguardState]:
    """Which samples (B,) are accepted because their distance has not grown too much, and the state with new shares."""
    is_small = distance <= acceptance.factor * state.accepted_distances.amax(1)
    accepted = is_small | (state.step_share < SHORTEST)
    share = torch.where(accepted, (acceptance.growth * state.step_share).clamp_max(1), state.step_share / 2)
    return accepted, replace(state, step_share=share)


def _judged_by_schedule(state: SafeguardState, distance: Tensor, contraction: float) -> tuple[Tensor, SafeguardState]:
    """Which samples (B,) are accepted because they keep up with Picard, and the state with the Picard steps to come."""
    next_distance = contraction * state.picard_distance
    was_picard = state.picard_steps_left > 0
    accepted = was_picard | ((distance <= next_distance) & (distance < state.accepted_distances[:, -1]))
    steps_left = torch.where(
        accepted, (state.picard_steps_left - 1).clamp_min(0), 2 ** state.num_rejections.clamp_max(30)
    )
    return accepted, replace(
        state,
        picard_distance=torch.where(accepted, next_distance, state.picard_distance),
        num_rejections=state.num_rejections + (~accepted).long(),
        picard_steps_left=steps_left,
    )
