"""What a study leaves open of its equilibrium solves, and what it must not ask of them.

A bound promises that every solve ends, if only it is given the steps: so many it gets unless the study says otherwise,
and a study that says fewer is refused with the number. Used by `lion`.
"""

from __future__ import annotations

from typing import Any, Protocol

from lion_ray.implicit import evaluations_needed
from lion_ray.methods.equilibrium import (
    MOST_KEPT_FREELY,
    MOST_STEPS,
    GradientChoice,
    ImplicitChoice,
    ImplicitOptions,
    SolverChoice,
    backward_of,
)


class SolveOptions(Protocol):
    """The options of a method that say how its equilibria are solved."""

    @property
    def gamma(self) -> float | None: ...
    @property
    def solver(self) -> SolverChoice: ...
    @property
    def tolerance(self) -> float: ...
    @property
    def max_steps(self) -> int: ...
    @property
    def gradient(self) -> GradientChoice: ...


def resolved(options: SolveOptions, *, is_given: bool) -> dict[str, Any]:
    """What the options leave open, or say at length: `max_steps` and `gradient`, those of them that change.

    Args:
        is_given: whether the study says `max_steps`; if not it is what the bound can need, and at least the default.
    """
    steps = options.max_steps
    if options.gamma is not None and not is_given:
        steps = max(steps, _needed(options.solver, options.gamma, options.tolerance))
    gradient = _resolved(options, steps)
    return {
        **({"max_steps": steps} if steps != options.max_steps else {}),
        **({"gradient": gradient} if gradient != options.gradient else {}),
    }


def _resolved(options: SolveOptions, max_steps: int) -> GradientChoice:
    """The gradient mode in its one form.

    What the backward solve takes from the forward one anyway is left out. What it needs beyond it is written in: more
    steps, where its tolerance under the bound asks for them, and without a bound the forward solve's solver, since
    Picard's steps may lead away there.
    """
    own, gamma, tolerance = backward_of(options.gradient), options.gamma, options.tolerance
    if own is None:
        return options.gradient
    same = {"tolerance": tolerance, "max_steps": max_steps}
    update: dict[str, Any] = {name: None for name, value in same.items() if getattr(own, name) == value}
    is_free = gamma is None and options.solver != "picard"
    if is_free and "solver" not in own.model_fields_set:
        update["solver"] = options.solver
    if gamma is not None and own.max_steps is None:
        needed = _needed(own.solver, gamma, own.tolerance or tolerance)
        update |= {"max_steps": needed} if needed > max_steps else {}
    own = own.model_copy(update=update)
    return "implicit" if own == ImplicitOptions() and not is_free else ImplicitChoice(implicit=own)


def too_many_steps(options: SolveOptions) -> str | None:
    """What is wrong with settings, given or derived, by which a solve may take for ever; None if nothing is."""
    backward = backward_of(options.gradient)
    solves = [(options.solver, options.max_steps)]
    if backward is not None:
        solves.append((backward.solver, backward.max_steps or options.max_steps))
    for solver, steps in solves:
        if steps > MOST_STEPS:
            return f"gamma ({options.gamma}) and tolerance can need {steps:,} steps; a solve may take {MOST_STEPS:,}"
        if options.gamma is None and solver == "broyden" and steps > MOST_KEPT_FREELY:
            return (
                f"max_steps ({steps:,}) must be at most {MOST_KEPT_FREELY:,} where broyden keeps every step; give it a "
                "window, as {broyden: {window: 100}}"
            )
    return None


def too_few_steps(options: SolveOptions) -> tuple[str, str] | None:
    """The option that allows fewer steps than a solve under the bound can need, and what it has to be, if one does."""
    gamma, backward = options.gamma, backward_of(options.gradient)
    if gamma is None:
        return None
    solves = [("max_steps", options.solver, options.tolerance, options.max_steps)]
    if backward is not None:
        tolerance, steps = backward.tolerance or options.tolerance, backward.max_steps or options.max_steps
        solves.append(("gradient.implicit.max_steps", backward.solver, tolerance, steps))
    for option, solver, tolerance, steps in solves:
        needed = _needed(solver, gamma, tolerance)
        if steps < needed:
            problem = f"{steps} is too few: with gamma {gamma:g} a solve to tolerance {tolerance:g} can need {needed}"
            return option, f"{problem}; give at least {needed}, or leave it out"
    return None


def _needed(solver: SolverChoice, gamma: float, tolerance: float) -> int:
    return evaluations_needed(gamma, tolerance, accelerated=solver != "picard")
