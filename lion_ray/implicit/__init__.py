"""Equilibrium (implicit) layers. The cell, the solver and the gradient mode are three separate arguments.

`lion_ray.methods` builds `ImplicitLayer(cell, solver=..., gradient=...)`. Every solver runs in the loop `solve`, both
forward and backward.
"""

from lion_ray.implicit.anderson import Anderson
from lion_ray.implicit.broyden import Broyden
from lion_ray.implicit.cells import Cell, LinearCell, injection_init
from lion_ray.implicit.convolution import ConvCell
from lion_ray.implicit.explicit import ExplicitLayer
from lion_ray.implicit.fixed import FixedSteps, steps_needed
from lion_ray.implicit.gradients import AdjointGradient, Gradient, Implicit, Neumann, OneStep, Unrolled
from lion_ray.implicit.layer import DEFAULT_GAMMA, ImplicitLayer
from lion_ray.implicit.norms import max_norm, sum_norm
from lion_ray.implicit.patches import add_patches
from lion_ray.implicit.picard import Picard
from lion_ray.implicit.projection import project_
from lion_ray.implicit.solution import Solution
from lion_ray.implicit.solvers import Solver, solve
from lion_ray.implicit.steps import DEFAULT_STEPS, evaluations_allowed, evaluations_needed

__all__ = [
    "DEFAULT_GAMMA",
    "DEFAULT_STEPS",
    "AdjointGradient",
    "Anderson",
    "Broyden",
    "Cell",
    "ConvCell",
    "ExplicitLayer",
    "FixedSteps",
    "Gradient",
    "Implicit",
    "ImplicitLayer",
    "LinearCell",
    "Neumann",
    "OneStep",
    "Picard",
    "Solution",
    "Solver",
    "Unrolled",
    "add_patches",
    "evaluations_allowed",
    "evaluations_needed",
    "injection_init",
    "max_norm",
    "project_",
    "solve",
    "steps_needed",
    "sum_norm",
]
