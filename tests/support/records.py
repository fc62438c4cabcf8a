"""Metrics of made-up rounds, for tests that look at a few of their figures."""

from __future__ import annotations

from lion_ray.lottery import RoundMetrics


def metrics(*, density: float = 1.0, val_accuracy: float | None = None, num_params: int = 0) -> RoundMetrics:
    """All parameters act, no test split was read, nothing was solved."""
    return RoundMetrics(
        density=density,
        num_params=num_params,
        num_params_without_classifier=num_params,
        num_acting_params=num_params,
        num_acting_params_without_classifier=num_params,
        val_accuracy=val_accuracy,
    )
