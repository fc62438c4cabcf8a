"""From a file and `--set` overrides to a `Study`, or to one line that says what to mend.

`load` is called by the doors (`pipeline`, `cli`); `validate` also by `methods`, for the options beside a method's name.
"""

from __future__ import annotations

import difflib
import json
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lion_ray.config.base import SLUG
from lion_ray.config.parsing import MOST_BYTES, ParseError, decoded, parse
from lion_ray.config.study import Study


class StudyError(ValueError):
    """What a user can mend in a study file, in one line: file, key, what is wrong, what is allowed."""

    def __init__(self, source: str, key: str, problem: str) -> None:
        super().__init__(source, key, problem)  # as given, so that it crosses processes

    def __str__(self) -> str:
        return ": ".join(part for part in self.args if part)


LONGEST_VALUE = 200
Model = TypeVar("Model", bound=BaseModel)


def load(path: str | Path, overrides: Iterable[str] = ()) -> Study:
    """Read a study file and apply `key.sub=value` overrides.

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
    for override in overrides:
        raw = _override(raw, override)
    return validate(Study, raw, source=str(path))


def validate(model: type[Model], raw: Mapping[str, Any], *, source: str, key: str = "") -> Model:
    """`raw` as a `model`, or a `StudyError` that names the first wrong key below `key`.

    Values pass through JSON in pydantic's strict mode: lists become tuples, but no string becomes a number.
    """
    try:
        return model.model_validate_json(json.dumps(raw, default=str), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (*([key] if key else []), *_keys_of(first["loc"])))
        raise StudyError(source, where, _explain(model, first)) from error


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'mnist'? Allowed: ...`, for every message about a name that is not known."""
    names = sorted(allowed)
    if not names:
        return "nothing is allowed here"
    match = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f"did you mean '{match[0]}'? " if match else ""
    return f"{hint}Allowed: {', '.join(names[:40])}{', ...' if len(names) > 40 else ''}"


def _explain(model: type[BaseModel], error: Any) -> str:
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


def _shown(value: Any) -> str:
    """As a line can hold it."""
    return reprlib.repr(value) if len(repr(value)) > LONGEST_VALUE else repr(value)


def _expected(kind: str, error: Any) -> str:
    """What is allowed, in the words of YAML where pydantic uses Python's."""
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
    """`path` without the names of union members, which pydantic adds."""
    return [part for part in path if isinstance(part, int) or (part[:1].islower() and "[" not in part)]


def _words(expected: str) -> list[str]:
    return [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]


def _keys_at(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that a section takes: follow `path` through the fields' annotations, into every member of a union."""
    sections = [model]
    for part in _keys_of(path):
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        sections = [inner for field in fields for inner in _sections(field.annotation)] or sections
    return [key for section in sections for key in section.model_fields]


def _sections(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _sections(part)]


def _override(raw: dict[str, Any], override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise StudyError("--set", override, "must look like key.sub=value, such as train.epochs=2")
    try:
        value = parse(text)
    except ParseError as error:
        raise StudyError("--set", key, f"{text!r}: {error}") from error
    return _placed(raw, key.split("."), value, key)


def _placed(raw: dict[str, Any], path: list[str], value: Any, key: str) -> dict[str, Any]:
    """A copy of `raw` with `value` at `path`."""
    if len(path) == 1:
        return {**raw, path[0]: value}
    inner = raw.get(path[0]) or {}
    if not isinstance(inner, dict):
        raise StudyError("--set", key, f"'{path[0]}' is not a section; set it as a whole, such as {path[0]}=[...]")
    return {**raw, path[0]: _placed(inner, path[1:], value, key)}
