"""Statistics of the solves since the last reset.

They stay on the device and become floats on request. Adding a solution only keeps its per-sample figures. When many
have accumulated they are summed, without a device synchronisation. `layer.ImplicitLayer` owns one object for the
forward and one for the backward solves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lion_ray.implicit.solution import Solution

MAX_PENDING = 64  # solutions that are kept before they are summed


class SolveStatistics:
    """Running statistics of one kind of solve, forward or backward."""

    def __init__(self) -> None:
        self._pending: list[tuple[Tensor, ...]] = []
        self._sums: Tensor | None = None
        self._maxima: Tensor | None = None

    def add(self, solution: Solution) -> None:
        """Count every sample of a solution. A non-finite residual is counted but does not enter mean and maximum."""
        if solution.residual.shape[0] == 0:
            return
        residual = solution.residual.detach()
        self._pending.append((residual, solution.num_steps, solution.converged, solution.fallback))
        if len(self._pending) >= MAX_PENDING:
            self._sum_pending()

    @torch.no_grad()
    def _sum_pending(self) -> None:
        if not self._pending:
            return
        residual, steps, converged, fallback = (torch.cat(parts).double() for parts in zip(*self._pending, strict=True))
        self._pending = []
        finite = residual.isfinite()
        residual = torch.where(finite, residual, 0)
        parts = [torch.ones_like(residual), finite, residual, steps, 1 - converged, fallback]
        sums = torch.stack([part.double() for part in parts]).sum(1)
        maxima = torch.stack([residual, steps]).amax(1)
        # New tensors, not in-place sums: the old ones may be inference tensors.
        self._sums = sums if self._sums is None else self._sums + sums
        self._maxima = maxima if self._maxima is None else torch.maximum(self._maxima, maxima)

    def figures(self) -> dict[str, float]:
        """The statistics by name, as floats. All are 0 if nothing was solved. Synchronises with the device."""
        self._sum_pending()
        zeros = [0.0] * 6
        count, finite, residual, steps, unconverged, fallbacks = zeros if self._sums is None else self._sums.tolist()
        residual_max, steps_max = zeros[:2] if self._maxima is None else self._maxima.tolist()
        return {
            "num_samples": count,
            "num_nonfinite": count - finite,
            "residual_mean": residual / max(finite, 1.0),
            "residual_max": residual_max,
            "steps_mean": steps / max(count, 1.0),
            "steps_max": steps_max,
            "share_unconverged": unconverged / max(count, 1.0),
            "fallbacks": fallbacks,
        }
