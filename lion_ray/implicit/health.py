"""Health of the solves since the last reset, kept on the device and turned into floats on request.

Adding a solution only remembers its per-sample figures; they are summed up when there are many, without a sync.
Owned by `layer.ImplicitLayer`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lion_ray.implicit.solution import Solution

MANY = 64  # solutions remembered before they are summed up


class Tally:
    """Running figures of one kind of solve (forward or backward)."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, ...]] = []
        self._sums: Tensor | None = None
        self._maxima: Tensor | None = None

    def add(self, solution: Solution) -> None:
        """Count every sample of a solution; a non-finite residual is counted, and left out of mean and maximum."""
        if solution.residual.shape[0] == 0:
            return
        residual = solution.residual.detach()
        self._waiting.append((residual, solution.num_steps, solution.converged, solution.fallback))
        if len(self._waiting) >= MANY:
            self._sum_up()

    @torch.no_grad()
    def _sum_up(self) -> None:
        if not self._waiting:
            return
        residual, steps, converged, fallback = (torch.cat(parts).double() for parts in zip(*self._waiting, strict=True))
        self._waiting = []
        finite = residual.isfinite()
        residual = torch.where(finite, residual, 0)
        parts = [torch.ones_like(residual), finite, residual, steps, 1 - converged, fallback]
        sums = torch.stack([part.double() for part in parts]).sum(1)
        maxima = torch.stack([residual, steps]).amax(1)
        # New tensors, not in-place: these may have been made under inference_mode.
        self._sums = sums if self._sums is None else self._sums + sums
        self._maxima = maxima if self._maxima is None else torch.maximum(self._maxima, maxima)

    def figures(self) -> dict[str, float]:
        """Plain floats; all zero when nothing was solved."""
        self._sum_up()
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
