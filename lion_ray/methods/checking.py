"""Whether each method of a study can be had on its backbone, tried on one image before anything starts.

What timm's models and torch raise on an odd backbone, size or option has no end of kinds; all of it becomes one line
here. The driver keeps in the study's store which trials have passed, so a resume repeats nothing, and has the others
made in another process (`sweep.method_trials`), since some models abort the one that runs them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from lion_ray.backbones import Backbone, NoSuchMaps, drawn_images
from lion_ray.config import MethodConfig, StudyError
from lion_ray.methods.effects import displace_, inert, projected, suspects
from lion_ray.methods.foreign import Failed, border, is_of_memory, place_of
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.tuning import NotApplicable

EDITION = 2  # raised when a trial asks for more
STEPS = 2  # what a step leaves behind, such as a cache, shows in the next
Build = Callable[[MethodConfig, Backbone], AdaptedModel]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one trial: the key of the study that it was about, and in one line what is wrong, if anything is."""

    key: str
    problem: str | None = None


Trials = Callable[[Mapping[int, MethodConfig]], Iterator[Outcome]]
"""From method entries by their places in the study to what `outcomes` gives."""


def _anything(method: str) -> str:
    return "what the method puts into it"


def trial_digest(config: MethodConfig, options: Mapping[str, Any], backbone: Mapping[str, Any]) -> str:
    """What names a trial: everything that its answer can depend on. `backbone` says its name, size and transform."""
    told = {
        "edition": EDITION,
        "method": {"name": config.name, **options},
        "backbone": backbone,
        "versions": {name: version(name) for name in ("timm", "torch")},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]


def problem_of_backbone(backbone: Backbone) -> str | None:
    """Why the frozen backbone cannot be run at its image size, in one line."""
    try:
        with border(), torch.no_grad():
            features = backbone(_image(backbone))
    except Failed as error:
        return f"cannot be run at {backbone.transform.size} px: {error}"
    if features.dim() != 2 or features.shape != (1, backbone.num_features):
        return f"gives features of shape {tuple(features.shape)}, not (1, {backbone.num_features})"
    return None


def problem_of(
    config: MethodConfig, backbone: Backbone, build: Build, *, brings: Callable[[str], str] = _anything
) -> str | None:
    """Why the method cannot be had on this backbone, which itself can be run, in one line.

    Args:
        brings: from a method's name to what it puts into the backbone (see `registry.Method`).
    """
    try:
        with border():
            model = build(config, backbone)
            idle = _without_effect(model, _image(backbone))
    except (NotApplicable, NoSuchMaps) as reason:
        return f"'{config.name}' does not apply to {backbone.name}: {reason}"
    except Failed as error:
        if is_of_memory(error):
            return f"'{config.name}' cannot be tried on {backbone.name}: there is not enough memory for one image"
        why = f"{place_of(error)} does not run with {brings(config.name)} at {backbone.transform.size} px"
        return f"'{config.name}' does not apply to {backbone.name}: {why}"
    if not idle:
        return None
    places = f"{backbone.name} at {backbone.transform.size} px"
    count = f"{len(idle)} of {len(model.trained())} trained tensors cannot change the output"
    return f"'{config.name}' does not apply to {places}: {count}: {_some(idle)}"


def outcomes(
    configs: Mapping[int, MethodConfig],
    make_backbone: Callable[[], Backbone],
    build: Build,
    *,
    advice: Callable[[], str] = str,
    brings: Callable[[str], str] = _anything,
) -> Iterator[Outcome]:
    """Try the backbone, then each method entry, by its place in the study; ends with the first problem.

    Args:
        advice: what to say of a backbone that cannot be run, such as the sizes that do.
        brings: as for `problem_of`.
    """
    try:
        with border():
            backbone = make_backbone()
    except Failed as error:
        yield Outcome(key="backbone", problem=f"cannot be run at this image size: {error}{advice()}")
        return
    except StudyError as error:
        yield Outcome(key=error.args[1], problem=error.args[2])
        return
    if problem := problem_of_backbone(backbone):
        yield Outcome(key="backbone", problem=f"{backbone.name} {problem}{advice()}")
        return
    yield Outcome(key="backbone")
    for index, config in configs.items():
        problem = problem_of(config, backbone, build, brings=brings)
        yield Outcome(key=key_of(index), problem=problem)
        if problem:
            return


def check_each(
    configs: Sequence[MethodConfig],
    trials: Trials,
    digest_of: Callable[[MethodConfig], str],
    *,
    source: str,
    has_passed: Callable[[str], bool] = lambda digest: False,
    on_passed: Callable[[str], None] = lambda digest: None,
) -> None:
    """Try each distinct method entry; those that have passed before are not tried again.

    Args:
        trials: makes those that are left.
        digest_of: names a trial (see `trial_digest`).
        has_passed, on_passed: ask for and write down the trials that passed, by digest.

    Raises:
        StudyError: the backbone cannot be run, or a method cannot be had on it.
    """
    first: dict[str, int] = {}
    for index, config in enumerate(configs):
        first.setdefault(digest_of(config), index)
    left = {key_of(index): digest for digest, index in first.items() if not has_passed(digest)}
    if not left:
        return
    for outcome in trials({index: config for index, config in enumerate(configs) if key_of(index) in left}):
        if outcome.problem:
            raise StudyError(source, outcome.key, outcome.problem)
        if outcome.key in left:
            on_passed(left[outcome.key])


def key_of(index: int) -> str:
    """The place of a method entry in the study file."""
    return f"methods.{index}"


def _without_effect(model: AdaptedModel, image: Tensor) -> list[str]:
    """Two steps from a random point; the trained tensors that cannot change the output there."""
    displace_(model)
    trained = model.trained()
    optimizer = torch.optim.SGD(trained.values(), lr=1e-3)
    idle: list[str] = []
    for step in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(projected(model(image)))
        idle = idle if step else inert(model, suspects(trained), image.shape[-1])
        optimizer.step()
        model.project_()
    return idle


def _image(backbone: Backbone) -> Tensor:
    return drawn_images(1, backbone.transform.size)


def _some(names: Sequence[str]) -> str:
    shown = [name.removeprefix("body.backbone.model.") for name in names[:2]]
    return ", ".join(shown) + f" and {len(names) - len(shown)} more" * (len(names) > len(shown))
