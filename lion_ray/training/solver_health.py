"""Solver health: figures on the convergence of many equilibrium solves, merged.

A solve that fails need not show in the accuracy, so `lion_ray.trial` stores a summary with every round and
`lion_ray.report` shows it. The figures have the names of `AdaptedModel.health`, such as `body.prompt.residual_max`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lion_ray.lottery import SolverHealth

Health = Mapping[str, float]


def merged(parts: Sequence[Health]) -> dict[str, float]:
    """The health of all workers together.

    Counts are added, of maxima the largest is taken, and means and shares are weighted by the number of samples.
    """

    def figure_of(key: str) -> float:
        """The merged figure under one key."""
        values = [part[key] for part in parts]
        prompt, _, figure = key.rpartition(".")
        if "_max" in figure or figure == "bound_used":
            return max(values)
        if figure.startswith(("num_", "fallbacks")):
            return sum(values)
        samples = f"{prompt}.num_samples{'_backward' * figure.endswith('_backward')}"
        weights = [part[samples] for part in parts]
        return sum(w * value for w, value in zip(weights, values, strict=True)) / max(sum(weights), 1.0)

    return dict(parts[0]) if len(parts) == 1 else {key: figure_of(key) for key in parts[0]}


def share_unconverged(health: Health) -> float:
    """The largest share of solves that missed their tolerance, over all prompts, forward and backward."""
    return max((value for key, value in health.items() if ".share_unconverged" in key), default=0.0)


def summary(parts: Iterable[Health]) -> SolverHealth:
    """The health of a whole round, from that of its epochs and evaluations."""
    num = unconverged = nonfinite = worst = 0.0
    for health in parts:
        for key, samples in health.items():
            if ".num_samples" in key:
                num += samples
                unconverged += samples * health[key.replace("num_samples", "share_unconverged")]
                nonfinite += health[key.replace("num_samples", "num_nonfinite")]
                worst = max(worst, health[key.replace("num_samples", "residual_max")])
    return SolverHealth(
        num=round(num),
        share_unconverged=unconverged / max(num, 1.0),
        num_nonfinite=round(nonfinite),
        residual_max=worst,
    )
