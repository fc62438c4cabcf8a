"""Small JSON documents that carry a digest of themselves: a damaged one is warned of and counts as absent.

`study.decisions` and `study.choices` keep what was decided in them, so that no damage decides anything.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from lion_ray.store.artifacts import DamagedArtifactWarning, Store

Value = TypeVar("Value")


def digest_of(value: Any) -> str:
    """SHA-256 of a value's JSON, its keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write(store: Store, path: str, fields: dict[str, Any], *, signed: str | None = None) -> None:
    """Replace the document at `path`; it is in the store when this returns.

    Args:
        fields: JSON; tuples become lists.
        signed: the field that the digest is of; None for all fields.
    """
    plain = json.loads(json.dumps(fields))
    digest = digest_of(plain if signed is None else plain[signed])
    store.write(path, json.dumps({**plain, "digest": digest}, sort_keys=True, indent=1).encode())


def read(
    store: Store, path: str, parse: Callable[[dict[str, Any]], Value], *, signed: str | None = None
) -> Value | None:
    """What `parse` makes of the fields of a document; None if there is none, or with a warning if it is damaged.

    Args:
        parse: receives the fields without the digest; a ValueError, KeyError or TypeError of it is damage too.
        signed: as for `write`.
    """
    payload = store.read(path)
    if payload is None:
        return None
    try:
        fields = json.loads(payload)
        digest = fields.pop("digest")
        if digest != digest_of(fields if signed is None else fields[signed]):
            raise ValueError("it does not match its digest")
        return parse(fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as damage:
        warn(store, path, damage)
        return None


def warn(store: Store, path: str, damage: Exception) -> None:
    """Say that the file at `path` counts as absent."""
    text = f"{store.url}/{path} counts as absent: {damage}"
    warnings.warn(text, DamagedArtifactWarning, stacklevel=3)
