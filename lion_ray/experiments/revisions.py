"""Revision numbers of what trains: raised when the same settings give other bits than they gave before.

A number above 1 is part of the identity of each experiment to which its rule applies, so a round that was stored by
code of another revision is neither continued nor shown (`is_current`). A method whose own code changes its bits gets a
rule named after it. Rules are never removed, and numbers never fall.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from lion_ray.methods import METHODS

Config = Mapping[str, Any]
"""An experiment's whole configuration as its records hold it (`Experiment.config`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RevisionRule:
    """One revision number: the experiments it `applies` to by their configuration, and why it was raised last."""

    name: str
    number: int
    applies: Callable[[Config], bool]
    because: str


def _is_pruned(config: Config) -> bool:
    return METHODS[config["method"]["name"]].is_prunable


def _is_accelerated(config: Config) -> bool:
    """Whether Anderson or Broyden finds its equilibria, or its gradients."""
    method = config["method"]
    gradient = method.get("gradient")
    backward = gradient.get("implicit", {}) if isinstance(gradient, Mapping) else {}
    return any(solver not in (None, "picard") for solver in (method.get("solver"), backward.get("solver")))


def _is_ssf_on_a_bias_kept_apart(config: Config) -> bool:
    """Whether SSF stands on BEiT or EVA, whose attention keeps the bias of its first layer in parameters of its own."""
    method, backbone = str(config["method"]["name"]), str(config["backbone"]["name"])
    return method == "ssf" and backbone.startswith(("beit", "eva"))


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
        name="ssf where a bias is kept apart",
        number=2,
        applies=_is_ssf_on_a_bias_kept_apart,
        because="shifts that nothing reads are no longer trained and counted",
    ),
)


def revisions_of(config: Config) -> dict[str, int]:
    """By rule, the numbers above 1 of the rules that apply to an experiment."""
    return {rule.name: rule.number for rule in RULES if rule.number > 1 and rule.applies(config)}


def is_current(config: Config) -> bool:
    """Whether a stored record, given by its configuration, is of today's revisions."""
    known = config.get("method", {}).get("name") in METHODS
    return known and dict(config.get("revision", {})) == revisions_of(config)
