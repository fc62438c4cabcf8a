"""`RoundRecord`: the contents of a round's `result.json`, checked and as a typed value.

`lion_ray.study.rounds` reads it from artifacts, `lion_ray.study.index` from its own entries, and
`lion_ray.trial.stored_rounds` when a trial goes on. A record without its fields is damaged, like a wrong digest.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lion_ray.lottery import RoundMetrics


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """A finished round, or a control beside it: what was trained, what it measured, how long it took.

    `experiment` is the experiment's name; `dataset`, `backbone` and `method` are names for people; `ticket` is
    `winning` or the control's name; `config` is the experiment's configuration as JSON. `seconds` is the round's wall
    time and `finished` its end in seconds since 1970 (UTC); both are None if its `clock.json` is lost.
    """

    experiment: str
    dataset: str
    backbone: str
    method: str
    seed: int
    round: int
    ticket: str
    config: Mapping[str, Any]
    metrics: RoundMetrics
    seconds: float | None = None
    finished: float | None = None

    def as_json(self) -> dict[str, object]:
        """The fields as JSON values, which `from_json` reads back."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"metrics": self.metrics.as_json()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> RoundRecord:
        """The record of JSON fields that `checked` has accepted."""
        known = {name: fields[name] for name in _RECORD if name in fields}
        return cls(**{**known, "metrics": RoundMetrics.from_json(fields["metrics"])})


_RECORD = tuple(field.name for field in dataclasses.fields(RoundRecord))


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
    history: list[dict[str, object]] = Field(min_length=1)


class _Stage(BaseModel):
    model_config = ConfigDict(strict=True)
    name: str | None = None


class _Config(BaseModel):
    """The sections that tables read. Further sections are allowed."""

    model_config = ConfigDict(strict=True)
    dataset: dict[str, object]
    backbone: dict[str, object]
    method: dict[str, object]
    revision: dict[str, int] = Field(default_factory=dict)
    stage: _Stage | None = None


class _Record(BaseModel):
    """The fields of `result.json` that tables read. Further keys are allowed."""

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


def read_record(payload: bytes) -> RoundRecord:
    """The record in the bytes of a `result.json`.

    Raises:
        ValueError: the bytes are no record of a round.
    """
    try:
        fields = json.loads(payload)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    (only,) = checked([fields])
    return only


def checked(records: list[dict[str, Any]]) -> list[RoundRecord]:
    """The records of parsed JSON objects.

    Raises:
        ValueError: one of the objects is no record; the message names the field and the reason.
    """
    try:
        _RECORDS.validate_python(records)
        return [RoundRecord.from_json(record) for record in records]
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an epoch's record or a figure is missing: {error}") from None
