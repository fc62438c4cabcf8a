"""Solvers and gradients as a study file names them: every setting reaches the layer, and one meaning has one hash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from lion_ray import config, methods
from lion_ray.config import MethodConfig, StudyError
from lion_ray.experiments import expand
from lion_ray.implicit import Anderson, Broyden, Implicit, ImplicitLayer, LinearCell, Picard, evaluations_needed
from lion_ray.methods.lion import make_layer
from lion_ray.methods.lion_options import LionOptions


def layer(**options: Any) -> ImplicitLayer:
    given = MethodConfig.model_validate({"name": "lion", **options})
    chosen = methods.options_of(given)
    assert isinstance(chosen, LionOptions)
    made = make_layer(lambda: LinearCell(4, 6, generator=torch.Generator().manual_seed(0)), chosen)
    assert isinstance(made, ImplicitLayer)
    return made


def digest(study_file: Path, options: str) -> str:
    return expand(config.load(study_file, [f"methods=[{{name: lion{options}}}]"]))[0].digest


def test_a_solvers_window_and_the_gradients_own_solve_are_set_in_the_study() -> None:
    gradient = {"implicit": {"solver": {"broyden": {"window": 2}}, "tolerance": 1e-5, "max_steps": 100}}
    made = layer(solver={"anderson": {"window": 3, "damping": 0.7}}, gradient=gradient, check_every=4)
    assert made.solver == Anderson(window=3, damping=0.7)
    assert made.gradient == Implicit(solver=Broyden(window=2), tolerance=1e-5, max_steps=100, check_every=4)
    assert (made.tolerance, made.max_steps, made.check_every) == (1e-4, 60, 4)


def test_a_backward_solve_takes_what_it_does_not_say_from_the_forward_one() -> None:
    made = layer(solver="anderson", tolerance=1e-3, max_steps=30, gradient={"implicit": {"max_steps": 7}})
    assert made.gradient == Implicit(solver=Picard(), tolerance=1e-3, max_steps=7)
    assert layer(tolerance=1e-3, max_steps=30).gradient == Implicit(tolerance=1e-3, max_steps=30)


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (", solver: picard, gradient: implicit", ""),
        (", gradient: {implicit: {}}", ""),
        (", gradient: {implicit: {solver: picard, tolerance: 1e-4, max_steps: 60}}", ""),
        (", max_steps: 19, gradient: {implicit: {max_steps: 19}}", ", max_steps: 19"),
        (", solver: {anderson: {window: 5}}", ", solver: anderson"),
        (", solver: {broyden: {}}", ", solver: broyden"),
        (", gradient: {implicit: {solver: {anderson: {}}}}", ", gradient: {implicit: {solver: anderson}}"),
        (", check_every: 8", ""),  # when the host asks changes no bit
    ],
)
def test_one_meaning_has_one_hash(study_file: Path, long: str, short: str) -> None:
    assert digest(study_file, long) == digest(study_file, short)


def test_max_steps_follow_from_gamma_and_tolerance_unless_set_forward_and_backward() -> None:
    assert (layer().max_steps, layer(gamma=0.8).max_steps, layer(gamma=None).max_steps) == (60, 60, 60)
    assert layer(gamma=0.9).max_steps == evaluations_needed(0.9, 1e-4) == 102
    assert layer(gamma=0.9).gradient == Implicit(tolerance=1e-4, max_steps=102)
    assert layer(gamma=0.9, max_steps=500).max_steps == 500
    assert layer(gamma=0.9, solver="anderson").max_steps == evaluations_needed(0.9, 1e-4, accelerated=True)
    made = layer(gamma=0.8, gradient={"implicit": {"tolerance": 1e-7}})
    assert (made.max_steps, made.gradient) == (60, Implicit(tolerance=1e-7, max_steps=evaluations_needed(0.8, 1e-7)))


def test_without_a_bound_the_backward_solve_takes_the_forward_ones_solver_unless_it_names_one() -> None:
    by_picard = Implicit(tolerance=1e-4, max_steps=60)
    assert layer(gamma=None, solver="broyden").gradient == Implicit(solver=Broyden(), tolerance=1e-4, max_steps=60)
    assert layer(gamma=None).gradient == layer(gamma=0.5, solver="broyden").gradient == by_picard
    chosen = layer(gamma=None, solver="broyden", gradient={"implicit": {"solver": "picard"}})
    assert chosen.gradient == by_picard


def test_what_is_settled_stays_as_it_is_when_a_record_of_it_is_read_again() -> None:
    for given in ({"gamma": None, "solver": "broyden"}, {"gamma": 0.9}, {"gamma": 0.9, "gradient": {"implicit": {}}},
                  {"gamma": None, "solver": "broyden", "gradient": {"implicit": {"solver": "picard"}}}):  # fmt: skip
        chosen = methods.options_of(MethodConfig.model_validate({"name": "lion", **given}))
        again = methods.options_of(MethodConfig.model_validate({"name": "lion", **chosen.model_dump(mode="json")}))
        assert again == chosen


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ", max_steps: 16",
            "0.max_steps: 16 is too few: with gamma 0.5 a solve to tolerance 0.0001 can need 17;",
        ),
        (", gamma: 0.9, max_steps: 60", "can need 102; give at least 102, or leave it out"),
        (", gamma: 0.9, solver: broyden, max_steps: 102", "can need 109; give at least 109, or leave it out"),
        (", gradient: {implicit: {max_steps: 9}}", "methods.0.gradient.implicit.max_steps: 9 is too few"),
    ],
)
def test_a_study_that_allows_fewer_steps_than_its_bound_needs_is_refused_with_the_number(
    study_file: Path, options: str, says: str
) -> None:
    with pytest.raises(StudyError) as caught:
        digest(study_file, options)
    assert says in str(caught.value)
    for free in (", max_steps: 17", ", gamma: null, max_steps: 1", ", gradient: one_step, max_steps: 17"):
        digest(study_file, free)


def test_every_other_setting_of_a_solve_has_a_hash_of_its_own(study_file: Path) -> None:
    options = ["", ", solver: anderson", ", solver: {anderson: {window: 3}}", ", solver: {broyden: {window: 3}}"]
    options += [", gradient: {implicit: {solver: anderson}}", ", gradient: {implicit: {tolerance: 1e-5}}"]
    options += [", solver: {broyden: {window: 8}}", ", solver: broyden", ", gamma: 0.9", ", gamma: 0.9, max_steps: 200"]
    options += [", gradient: {neumann: 2}", ", gradient: {neumann: 3}", ", gradient: one_step"]
    assert len({digest(study_file, each) for each in options}) == len(options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"solver": "andersen"}, "solver: 'andersen' is not allowed; did you mean 'anderson'?"),
        ({"solver": {"andersen": {}}}, "as {anderson: {window: 3}}"),
        ({"solver": {"picard": {}}}, "Give picard, anderson, broyden".lower()),
        ({"solver": {"anderson": {"window": 0}}}, "solver.anderson.window: 0 is not allowed"),
        ({"solver": {"anderson": {"windw": 3}}}, "solver.anderson.windw: unknown key; did you mean 'window'?"),
        ({"gradient": {"neuman": 2}}, "gradient: {'neuman': 2} is not allowed (give implicit, one_step"),
        ({"gradient": {"neumann": 0}}, "gradient.neumann: 0 is not allowed"),
        ({"gradient": {"implicit": {"tolerence": 1}}}, "tolerence: unknown key; did you mean 'tolerance'?"),
        ({"gradient": {"implicit": {"tolerance": -1.0}}}, "gradient.implicit.tolerance: -1.0 is not allowed"),
        ({"gradient": {"implicit": {"solver": "x"}}}, "gradient.implicit.solver: 'x' is not allowed; Allowed"),
        ({"check_every": 0}, "check_every: 0 is not allowed"),
        ({"cell": "explicit", "solver": "anderson"}, "solver has no effect: cell: explicit solves nothing"),
        ({"cell": "explicit", "tolerance": 1e-3}, "tolerance has no effect"),
    ],
)
def test_a_wrong_setting_of_a_solve_is_named_in_one_line(options: dict[str, Any], says: str) -> None:
    given = MethodConfig.model_validate({"name": "lion", **options})
    with pytest.raises(StudyError) as caught:
        methods.options_of(given, source="s.yaml", key="methods.0")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
