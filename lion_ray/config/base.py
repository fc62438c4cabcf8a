"""What every section of a study file is: immutable, strict, with one line for what is wrong."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from lion_ray.spelling import with_variables

Place = Annotated[str, AfterValidator(with_variables)]
"""A path or URL, the environment's variables in their places."""


class Frozen(BaseModel):
    """Base of every section: immutable, unknown keys rejected, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
