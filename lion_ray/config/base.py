"""What every section of a study file is: immutable, strict, with one line for what is wrong."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from lion_ray.store.variables import with_variables


def _expanded(place: str, info: ValidationInfo) -> str:
    """What a person has written, who passes through JSON; a record was made from what it stood for."""
    return with_variables(place) if info.mode == "json" else place


SLUG = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Place = Annotated[str, AfterValidator(_expanded)]
"""A path or URL, the environment's variables in their places."""


class Frozen(BaseModel):
    """Base of every section: immutable, unknown keys rejected, no silent conversion of types.

    Every key has a description: docs/study_file.md is made of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
