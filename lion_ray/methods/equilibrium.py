"""How a study file names a solver and a gradient mode, and what the names stand for.

    solver: picard, anderson, broyden        or   solver: {anderson: {window: 3}}
    gradient: implicit, one_step, unrolled   or   gradient: {neumann: 3}
                                             or   gradient: {implicit: {solver: broyden, tolerance: 1e-5}}

A long form that says nothing but defaults becomes the short one, here and in `solve_settings`, so that one meaning has
one hash. Used by `lion`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias, TypedDict

from pydantic import AfterValidator, Discriminator, Field, Tag

from lion_ray.config import Frozen
from lion_ray.implicit import (
    Anderson,
    Broyden,
    Gradient,
    Implicit,
    Neumann,
    OneStep,
    Picard,
    Solver,
    Unrolled,
)

MOST_STEPS = 20_000  # evaluations of one solve: what a ticket asks for ends
MOST_KEPT = 100  # past steps that a solver is told to remember
MOST_KEPT_FREELY = 2_000  # those of one that remembers all


class AndersonOptions(Frozen):
    """Settings of `implicit.Anderson`."""

    window: int = Field(default=Anderson().window, ge=1, le=MOST_KEPT, description="Past steps that are mixed.")
    regularisation: float = Field(default=Anderson().regularisation, ge=0, description="Of the least-squares problem.")
    damping: float = Field(
        default=Anderson().damping, gt=0, le=1, description="Share of each mixed step that is taken."
    )


class BroydenOptions(Frozen):
    """Settings of `implicit.Broyden`; no window: 8 updates under a bound, without one all."""

    window: int | None = Field(
        default=Broyden().window,
        ge=1,
        le=MOST_KEPT,
        description="Updates that are kept; null is 8 under a bound, all without one.",
    )


class AndersonChoice(Frozen):
    """`solver: {anderson: {...}}`."""

    anderson: AndersonOptions = Field(description="Its settings.")


class BroydenChoice(Frozen):
    """`solver: {broyden: {...}}`."""

    broyden: BroydenOptions = Field(description="Its settings.")


def _tag(choices: Mapping[str, str]) -> Callable[[Any], str | None]:
    """Which member of a union a value means: a word, or the section with one of the keys in `choices`."""

    def tag(value: Any) -> str | None:
        if isinstance(value, Frozen):
            return type(value).__name__
        if isinstance(value, dict):
            return choices.get(next(iter(value))) if len(value) == 1 else None
        return "Word" if isinstance(value, str) else None

    return tag


def _short(value: Any) -> Any:
    """`{anderson: {}}` as `anderson`: a section that equals its defaults is the word that names it."""
    if isinstance(value, AndersonChoice | BroydenChoice):
        ((name, options),) = ((name, getattr(value, name)) for name in type(value).model_fields)
        return name if options == type(options)() else value
    return value


SolverWord: TypeAlias = Literal["picard", "anderson", "broyden"]
SolverChoice: TypeAlias = Annotated[
    Annotated[SolverWord, Tag("Word")]
    | Annotated[AndersonChoice, Tag("AndersonChoice")]
    | Annotated[BroydenChoice, Tag("BroydenChoice")],
    Discriminator(
        _tag({"anderson": "AndersonChoice", "broyden": "BroydenChoice"}),
        custom_error_type="solver",
        custom_error_message="Give picard, anderson, broyden or one with settings, as {anderson: {window: 3}}",
    ),
    AfterValidator(_short),
]


class ImplicitOptions(Frozen):
    """The backward solve. Null is the forward solve's value, and so is no solver where gamma is null."""

    solver: SolverChoice = Field(
        default="picard", description="Of the backward solve; without a bound the forward solve's unless given."
    )
    tolerance: float | None = Field(default=None, gt=0, description="Null is the forward solve's.")
    max_steps: int | None = Field(default=None, ge=1, le=MOST_STEPS, description="Null is the forward solve's.")


class ImplicitChoice(Frozen):
    """`gradient: {implicit: {...}}`."""

    implicit: ImplicitOptions = Field(description="Settings of the backward solve.")


class NeumannChoice(Frozen):
    """`gradient: {neumann: k}`: the backward series is cut after k products."""

    neumann: int = Field(ge=1, le=MOST_STEPS, description="Products of the backward series.")


GradientWord: TypeAlias = Literal["implicit", "one_step", "unrolled"]
GradientChoice: TypeAlias = Annotated[
    Annotated[GradientWord, Tag("Word")]
    | Annotated[ImplicitChoice, Tag("ImplicitChoice")]
    | Annotated[NeumannChoice, Tag("NeumannChoice")],
    Discriminator(
        _tag({"implicit": "ImplicitChoice", "neumann": "NeumannChoice"}),
        custom_error_type="gradient",
        custom_error_message="Give implicit, one_step, unrolled, {neumann: 3} or {implicit: {tolerance: 1e-5}}",
    ),
]


def backward_of(choice: GradientChoice) -> ImplicitOptions | None:
    """The settings of the backward solve; None for a mode that has none."""
    if isinstance(choice, ImplicitChoice):
        return choice.implicit
    return ImplicitOptions() if choice == "implicit" else None


def make_solver(choice: SolverChoice) -> Solver[Any]:
    """The solver that a study names."""
    if isinstance(choice, AndersonChoice):
        return Anderson(**choice.anderson.model_dump())
    if isinstance(choice, BroydenChoice):
        return Broyden(**choice.broyden.model_dump())
    words: dict[SolverWord, Solver[Any]] = {"picard": Picard(), "anderson": Anderson(), "broyden": Broyden()}
    return words[choice]


class SolveSettings(TypedDict):
    """What the forward solve takes, and the backward one where it says nothing of its own."""

    tolerance: float
    max_steps: int
    check_every: int | None


def make_gradient(choice: GradientChoice, *, tolerance: float, max_steps: int, check_every: int | None) -> Gradient:
    """The gradient mode that a study names; a backward solve takes what it does not say from the forward one."""
    if isinstance(choice, NeumannChoice):
        return Neumann(k=choice.neumann)
    own = backward_of(choice) or ImplicitOptions()
    implicit = Implicit(
        solver=make_solver(own.solver),
        tolerance=own.tolerance or tolerance,
        max_steps=own.max_steps or max_steps,
        check_every=check_every,
    )
    modes: dict[GradientWord, Gradient] = {"implicit": implicit, "one_step": OneStep(), "unrolled": Unrolled()}
    return modes["implicit" if isinstance(choice, ImplicitChoice) else choice]
