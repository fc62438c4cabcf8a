"""Load a study file with its `--set` overrides into a `Study`, or raise a `StudyError` of one line.

The command-line entry points (`lion_ray.pipeline`, `lion_ray.cli`) call `load`. `lion_ray.methods` calls `validate` for
the options that stand beside a method's name.
"""

from __future__ import annotations

import difflib
import json
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from lion_ray.config.base import SLUG, Json
from lion_ray.config.parsing import MOST_BYTES, ParseError, decoded, parse
from lion_ray.config.study import Study


class StudyError(ValueError):
    """An error in the study file that its author can correct. The message is one line: file, key, problem, remedy."""

    def __init__(self, source: str, key: str, problem: str) -> None:
        super().__init__(source, key, problem)  # the same arguments, so that the error can be pickled

    def __str__(self) -> str:
        return ": ".join(part for part in self.args if part)


LONGEST_VALUE = 200
Model = TypeVar("Model", bound=BaseModel)


def load(path: str | Path, overrides: Iterable[str] = ()) -> Study:
    """Read a study file and apply overrides.

    Args:
        path: the YAML file.
        overrides: texts `key.sub=value`, applied in their order.

    Raises:
        StudyError: the file cannot be read or parsed, or a key or value is not allowed.
    """
    try:
        with Path(path).open("rb") as file:
            raw = parse(decoded(file.read(MOST_BYTES + 1)))
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(str(path), "", f"cannot be read ({getattr(error, 'strerror', None) or error})") from error
    except ParseError as error:
        raise StudyError(str(path), "", str(error)) from error
    if not isinstance(raw, dict):
        raise StudyError(str(path), "", "must hold keys and values, such as 'study: quickstart'")
    fields: Json = raw
    for override in overrides:
        fields = _override(fields, override)
    return validate(Study, fields, source=str(path))


def validate(model: type[Model], raw: Json, *, source: str, key: str = "") -> Model:
    """Convert `raw` to `model`. The values pass through JSON and pydantic's strict mode.

    Lists become tuples, but a string never becomes a number.

    Args:
        model: the pydantic class of the section.
        raw: the section as parsed from YAML.
        source: the file, for messages.
        key: the place of the section in the file, for messages; empty for the whole file.

    Raises:
        StudyError: a key or value is not allowed. The message names the first wrong key.
    """
    try:
        return model.model_validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (*([key] if key else []), *_keys_of(first["loc"])))
        raise StudyError(source, where, _explain(model, first)) from error


def nearest(word: str, allowed: Iterable[str]) -> str:
    """The hint of a message about an unknown name, such as `did you mean 'mnist'? Allowed: ...`.

    Args:
        word: the unknown name.
        allowed: the known names; at most 40 are listed.
    """
    names = sorted(allowed)
    if not names:
        return "nothing is allowed here"
    match = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f"did you mean '{match[0]}'? " if match else ""
    return f"{hint}Allowed: {', '.join(names[:40])}{', ...' if len(names) > 40 else ''}"


def _explain(model: type[BaseModel], error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return f"unknown key; {nearest(str(error['loc'][-1]), _keys_at(model, error['loc'][:-1]))}"
    if kind == "missing":
        return "is required"
    if kind == "literal_error":
        return f"{_shown(value)} is not allowed; {nearest(str(value), _words(error['ctx']['expected']))}"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    return f"{_shown(value)} is not allowed ({_expected(kind, error)})"


def _shown(value: object) -> str:
    """The `repr` of a value, shortened if it is long."""
    return reprlib.repr(value) if len(repr(value)) > LONGEST_VALUE else repr(value)


def _expected(kind: str, error: ErrorDetails) -> str:
    """What is allowed, in terms of YAML instead of the Python terms of pydantic."""
    if kind in ("tuple_type", "list_type"):
        return "a list is expected: [...]"
    if kind == "too_short":
        return f"at least {error['ctx']['min_length']} is needed"
    if kind == "string_type":
        return "a text is expected; quote what YAML reads otherwise, such as true or 1"
    if kind == "bool_type":
        return "true or false is expected"
    if kind == "string_pattern_mismatch" and error["ctx"]["pattern"] == SLUG:
        return "only letters, digits, '.', '_' and '-', a letter or digit first"
    message: str = error["msg"]
    return message[0].lower() + message[1:]


def _keys_of(path: tuple[str | int, ...]) -> list[str | int]:
    """The keys of an error's location. pydantic adds the names of union members, and they are removed."""
    return [part for part in path if isinstance(part, int) or (part[:1].islower() and "[" not in part)]


def _words(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _keys_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that the section at `path` accepts. A union accepts the keys of all of its members."""
    sections = [model]
    for part in _keys_of(path):
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        sections = [inner for field in fields for inner in _sections(field.annotation)] or sections
    return [key for section in sections for key in section.model_fields]


def _sections(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _sections(part)]


def _override(raw: Json, override: str) -> Json:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise StudyError("--set", override, "must look like key.sub=value, such as train.epochs=2")
    try:
        value = parse(text)
    except ParseError as error:
        raise StudyError("--set", key, f"{text!r}: {error}") from error
    return _placed(raw, key.split("."), value, key)


def _placed(raw: Json, path: list[str], value: object, key: str) -> Json:
    """A copy of `raw` with `value` at `path`."""
    if len(path) == 1:
        return {**raw, path[0]: value}
    inner = raw.get(path[0]) or {}
    if not isinstance(inner, dict):
        raise StudyError("--set", key, f"'{path[0]}' is not a section; set it as a whole, such as {path[0]}=[...]")
    return {**raw, path[0]: _placed(inner, path[1:], value, key)}
