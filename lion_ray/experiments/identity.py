"""What of a section of the study file enters an experiment's identity: whatever differs from its first default.

A key that the file leaves out means today's default. A key that the identity leaves out means the value that was the
default **when the key was introduced** (`FIRST_DEFAULTS`). So a new key with a default renames no experiment, and a
default that changes renames each experiment that takes the new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from typing import Any

from pydantic_core import PydanticUndefined

from lion_ray.config import Frozen
from lion_ray.experiments.first_defaults import FIRST_DEFAULTS
from lion_ray.experiments.revisions import RULES

FIRST_EDITION = "07c24b071320cf4a"
"""The edition of stores that name none."""


def identity_of(section: Frozen, *, exclude: Set[str] = frozenset()) -> dict[str, Any]:
    """The keys of a section whose values are not their first defaults, as JSON; sections within it likewise.

    Args:
        exclude: keys that are no part of the identity.
    """
    first = FIRST_DEFAULTS.get(type(section).__name__, {})
    names = [name for name, field in type(section).model_fields.items() if not field.exclude and name not in exclude]
    found = {name: _plain(getattr(section, name), section, name) for name in names}
    return {name: value for name, value in found.items() if name not in first or value != first[name]}


def identity_digest(identity: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON of an experiment's identity."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def edition() -> str:
    """What the same study file means now: every default that is no longer its key's first, and every revision above 1.

    Two versions of this project with one edition name the same experiments for a file; others may not.
    """
    defaults = {
        f"{section.__name__}.{name}": value for section in _sections(Frozen) for name, value in _changed(section)
    }
    revisions = {rule.name: rule.number for rule in RULES if rule.number > 1}
    return identity_digest({"defaults": defaults, "revisions": revisions})[:16]


def _plain(value: Any, section: Frozen, name: str) -> Any:
    return identity_of(value) if isinstance(value, Frozen) else section.model_dump(mode="json", include={name})[name]


def _sections(base: type[Frozen]) -> list[type[Frozen]]:
    return sorted((each for each in base.__subclasses__() if each.__name__ in FIRST_DEFAULTS), key=lambda c: c.__name__)


def _changed(section: type[Frozen]) -> list[tuple[str, Any]]:
    """The keys whose default is not the first one, with their default."""
    found = []
    for name, first in FIRST_DEFAULTS[section.__name__].items():
        default = section.model_fields[name].default
        value = identity_of(default) if isinstance(default, Frozen) else default
        if default is not PydanticUndefined and value != first:
            found.append((name, value))
    return found
