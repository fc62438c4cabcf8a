"""The base class of all sections of the study file, and the types that several sections share.

`lion_ray.config` and `lion_ray.methods` derive their sections and options from `Frozen`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from lion_ray.store.variables import with_variables


def _expanded(place: str, info: ValidationInfo) -> str:
    """Expand environment variables in text from a study file, which is validated as JSON.

    A value that is built from Python objects, such as a stored record, has been expanded before.
    """
    return with_variables(place) if info.mode == "json" else place


SLUG = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Place = Annotated[str, AfterValidator(_expanded)]
"""A path or URL. Environment variables in it are expanded when a study file is read."""
Json = Mapping[str, object]
"""A JSON object. Its values are not inspected."""


class Frozen(BaseModel):
    """Base class of every section. Values are immutable, and unknown keys are rejected.

    Every field has a description, from which docs/study_file.md is generated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
