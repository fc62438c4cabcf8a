"""What `result.json` says of a round, checked: whoever reads it, from an artifact or the index, finds what it needs.

`rounds` and `index` check what they read; a record that is none is damage, as a digest that does not match is.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Row = dict[str, Any]


class _Solves(BaseModel):
    model_config = ConfigDict(strict=True)
    num: int
    residual_max: float
    share_unconverged: float


class _Metrics(BaseModel):
    model_config = ConfigDict(strict=True)
    density: float
    num_params: int
    num_params_without_classifier: int
    val_accuracy: float | None
    test_accuracy: float | None
    solves: _Solves
    history: list[dict[str, Any]] = Field(min_length=1)


class _Stage(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str | None = None


class _Config(BaseModel):
    """The sections that tables read; further ones are left alone."""

    model_config = ConfigDict(strict=True)
    dataset: dict[str, Any]
    backbone: dict[str, Any]
    method: dict[str, Any]
    revision: dict[str, int] = Field(default_factory=dict)
    stage: _Stage | None = None


class _Record(BaseModel):
    """Further keys are left alone."""

    model_config = ConfigDict(strict=True)
    experiment: str
    dataset: str
    backbone: str
    method: str
    seed: int
    round: int = Field(ge=0)
    ticket: str
    config: _Config
    metrics: _Metrics


_RECORDS = TypeAdapter(list[_Record])


def read_record(payload: bytes) -> Row:
    """The record in a file's bytes.

    Raises:
        ValueError: it is none.
    """
    try:
        record: Row = json.loads(payload)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    (found,) = checked([record])
    return found


def checked(records: list[Row]) -> list[Row]:
    """`records` themselves.

    Raises:
        ValueError: one of them is none, and why.
    """
    try:
        _RECORDS.validate_python(records)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}") from None
    return records
