"""The identity of an experiment: the values of its sections that differ from their first defaults.

A key that the study file leaves out has today's default. A key that the identity leaves out has the default **of the
time when the key was introduced** (`FIRST_DEFAULTS`). So a new key with a default renames no experiment, and a changed
default renames each experiment that uses the new value. `lion_ray.experiments.expanding` calls it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Set

from pydantic_core import PydanticUndefined

from lion_ray.config import Frozen, Json
from lion_ray.experiments.first_defaults import FIRST_DEFAULTS
from lion_ray.experiments.revisions import RULES

FIRST_EDITION = "07c24b071320cf4a"
"""The edition of a store in which no edition is written."""


def identity_of(section: Frozen, *, exclude: Set[str] = frozenset()) -> dict[str, object]:
    """The values of a section, as JSON, that differ from their first defaults. Nested sections are treated likewise.

    Args:
        section: the section.
        exclude: keys that are not part of the identity.
    """
    first = FIRST_DEFAULTS.get(type(section).__name__, {})
    names = [name for name, field in type(section).model_fields.items() if not field.exclude and name not in exclude]
    values = {name: _as_json(getattr(section, name), section, name) for name in names}
    return {name: value for name, value in values.items() if name not in first or value != first[name]}


def identity_digest(identity: Json) -> str:
    """The SHA-256, in hexadecimal, of the canonical JSON of an experiment's identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def edition() -> str:
    """A digest of all defaults that differ from the first ones, and of all revision numbers above 1.

    Two versions of this project with the same edition give the same names to the experiments of a study file. Versions
    with different editions may not.
    """
    defaults = {
        f"{section.__name__}.{name}": value for section in _sections(Frozen) for name, value in _changed(section)
    }
    revisions = {rule.name: rule.number for rule in RULES if rule.number > 1}
    return identity_digest({"defaults": defaults, "revisions": revisions})[:16]


def _as_json(value: object, section: Frozen, name: str) -> object:
    if isinstance(value, Frozen):
        return identity_of(value)
    dumped: object = section.model_dump(mode="json", include={name})[name]
    return dumped


def _sections(base: type[Frozen]) -> list[type[Frozen]]:
    return sorted((each for each in base.__subclasses__() if each.__name__ in FIRST_DEFAULTS), key=lambda c: c.__name__)


def _changed(section: type[Frozen]) -> list[tuple[str, object]]:
    """The keys whose default differs from the first one, with today's default."""
    changed: list[tuple[str, object]] = []
    for name, first in FIRST_DEFAULTS[section.__name__].items():
        default = section.model_fields[name].default
        value = identity_of(default) if isinstance(default, Frozen) else default
        if default is not PydanticUndefined and value != first:
            changed.append((name, value))
    return changed
