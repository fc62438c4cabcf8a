"""Revision numbers of the training code. A number rises when the same settings give other bits than before.

A number above 1 is part of the identity of each experiment to which its rule applies, so a round that code of another
revision has stored is neither continued nor shown (`is_current`). A change in one method's code gets a rule named after
the method. Rules are never removed, and numbers never fall. `lion_ray.experiments.expanding` and `lion_ray.study` call
it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lion_ray.methods import METHODS

_WITH_BIASES_WITHOUT_EFFECT = (
    "cait", "convit", "xcit", "poolformer", "efficientformerv2", "mvit", "beit", "eva", "swinv2",
)  # fmt: skip
Config = Mapping[str, Any]
"""The configuration of an experiment as JSON, as `Experiment.config` gives it and as records store it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RevisionRule:
    """A revision number, the condition on a configuration under which it `applies`, and the reason of its last rise."""

    name: str
    number: int
    applies: Callable[[Config], bool]
    because: str


def _is_pruned(config: Config) -> bool:
    return METHODS[config["method"]["name"]].is_prunable


def _is_accelerated(config: Config) -> bool:
    """Whether Anderson or Broyden computes the equilibria or the gradients."""
    method = config["method"]
    gradient = method.get("gradient")
    backward = gradient.get("implicit", {}) if isinstance(gradient, Mapping) else {}
    return any(solver not in (None, "picard") for solver in (method.get("solver"), backward.get("solver")))


def _has_biases_without_effect(config: Config) -> bool:
    """Whether a method that trains biases stands on one of timm's families that has some without effect.

    See `backbones.without_effect`.
    """
    trains_biases = config["method"]["name"] in ("full", "partial", "bias", "ssf")
    return trains_biases and str(config["backbone"]["name"]).startswith(_WITH_BIASES_WITHOUT_EFFECT)


RULES = (
    RevisionRule(
        name="pruning",
        number=2,
        applies=_is_pruned,
        because="a pruned weight takes no part in gradients, moments, bounds and scores; before, it shrank the others",
    ),
    RevisionRule(
        name="acceleration",
        number=2,
        applies=_is_accelerated,
        because="a step that leads up is taken back; before, a Picard step followed, which may repel",
    ),
    RevisionRule(
        name="effect",
        number=2,
        applies=_has_biases_without_effect,
        because="biases that no output depends on are neither trained nor counted",
    ),
)


def revisions_of(config: Config) -> dict[str, int]:
    """The numbers above 1 of the rules that apply to an experiment, by rule."""
    return {rule.name: rule.number for rule in RULES if rule.number > 1 and rule.applies(config)}


def is_current(config: Config) -> bool:
    """Whether today's code has the revisions that a stored configuration names."""
    known = config.get("method", {}).get("name") in METHODS
    return known and dict(config.get("revision", {})) == revisions_of(config)
