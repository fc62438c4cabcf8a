"""Environment variables inside paths and URLs.

`lion_ray.config.base` expands them in a study file, and `lion_ray.store.places` expands them in local paths.
"""

from __future__ import annotations

import os
import re

VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]*)\}|(?P<bare>[A-Za-z_]\w*))")


def with_variables(place: str) -> str:
    """Replace `$NAME` and `${NAME}` in `place` by the values of these environment variables.

    A `place` that exists literally, with its `$`, is returned unchanged.

    Raises:
        ValueError: a variable is not set.
    """
    if "$" not in place or os.path.lexists(place):
        return place
    return VARIABLE.sub(lambda match: _value(match["braced"] or match["bare"], place), place)


def _value(name: str | None, place: str) -> str:
    if not name or name not in os.environ:
        raise ValueError(f"the variable {name or ''} in '{place}' is not set")
    return os.environ[name]
