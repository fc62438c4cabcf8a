"""Variables of the environment in places as people spell them. `config` and `store` ask."""

from __future__ import annotations

import os
import re

VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<bare>[A-Za-z_]\w*))")


def with_variables(place: str) -> str:
    """`place` with `$NAME` and `${NAME}` in their places; what exists by that very name is left alone.

    Raises:
        ValueError: a variable is not set.
    """
    if "$" not in place or os.path.lexists(place):
        return place
    return VARIABLE.sub(lambda found: _value(found["braced"] or found["bare"], place), place)


def _value(name: str | None, place: str) -> str:
    if not name or name not in os.environ:
        raise ValueError(f"the variable {name or ''} in '{place}' is not set")
    return os.environ[name]
