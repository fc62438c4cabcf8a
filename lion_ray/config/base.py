"""What every section of a study file is: immutable, strict, with one line for what is wrong."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Base of every section: immutable, unknown keys rejected, no silent conversion of types."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
