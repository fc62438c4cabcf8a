"""Whether the equilibria that an experiment's figures rest on were reached: health of many solves, put together.

A broken equilibrium does not show in accuracy, so `trial` keeps a summary with every round and `report` says it loudly.
Health figures are named as `AdaptedModel.health` names them, `body.prompt.residual_max` and so on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lion_ray.lottery import SolverHealth

Health = Mapping[str, float]


def merged(parts: Sequence[Health]) -> dict[str, float]:
    """The health of all workers' solves: counts add up, maxima are the largest, means and shares go by samples."""

    def figure_of(key: str) -> float:
        """One figure over all workers."""
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
    """The largest share, over prompts and directions, of solves that did not reach their tolerance."""
    return max((value for key, value in health.items() if ".share_unconverged" in key), default=0.0)


def summary(parts: Iterable[Health]) -> SolverHealth:
    """The health of a round's solves, put together from that of its epochs and evaluations."""
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
