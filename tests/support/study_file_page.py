"""docs/study_file.md from the classes of the study file: `python -m tests.support.study_file_page` writes it anew.

What stands above the mark is written by hand; below it is one table per section, made of the fields' types, bounds,
defaults and descriptions. `tests/test_documents.py` fails when the page is stale.
"""

from __future__ import annotations

import json
import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic.fields import FieldInfo

from lion_ray.config import Frozen, Study
from lion_ray.config.base import SLUG, Place
from lion_ray.methods import METHODS

PAGE = Path(__file__).parent.parent.parent / "docs" / "study_file.md"
MARK = "<!-- Made by `python -m tests.support.study_file_page`; what follows is not edited by hand. -->\n"
BELOW = "a section, below"
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
PLAIN = {int: "integer", float: "number", str: "text", bool: "`true` or `false`"}


def page() -> str:
    """The whole page: its head as it is, its tables as the classes say."""
    head = PAGE.read_text().partition(MARK)[0]
    lines = ["## The study\n", *_table([Study], ()), "## Options of the methods\n"]
    lines += [f"They stand beside an entry's `name`. {_plain_methods()} have none.\n"]
    for name, method in METHODS.items():
        if method.options.model_fields:
            lines += [f"### `{name}`\n", *_table([method.options], (name,))]
    return f"{head}{MARK}\n" + "\n".join(lines).rstrip() + "\n"


def _plain_methods() -> str:
    names = [f"`{name}`" for name, method in METHODS.items() if not method.options.model_fields]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _table(sections: Sequence[type[Frozen]], path: tuple[str, ...]) -> Iterator[str]:
    """The table of the sections that a key may hold, then those of the sections in them.

    Args:
        path: the keys that lead there; the first is the method's name where it is one of its options.
    """
    yield "| key | type and allowed values | default | meaning |\n|---|---|---|---|"
    fields = {name: field for section in sections for name, field in section.model_fields.items()}
    for name, field in fields.items():
        kind = _cell(_words(field.annotation, field.metadata).replace(BELOW, _link((*path, name))))
        yield f"| `{name}` | {kind} | {_default_of(field)} | {_cell(field.description or '')} |"
    yield ""
    for name, field in fields.items():
        inner, below = _sections(field.annotation), (*path, name)
        if inner and below[-2:] != ("implicit", "solver"):
            yield f"### {_title(below)}\n"
            yield from _table(inner, below)


def _title(path: tuple[str, ...]) -> str:
    return f"`{path[0]}`: `{'.'.join(path[1:])}`" if path[0] in METHODS and path[1:] else f"`{'.'.join(path)}`"


def _link(path: tuple[str, ...]) -> str:
    """To the table of a section; the backward solver's settings are the forward solver's."""
    path = ("lion", "solver") if path[-2:] == ("implicit", "solver") else path
    anchor = re.sub(r"[^\w -]", "", _title(path)).replace(" ", "-").lower()
    return f"[a section](#{anchor})"


def _words(annotation: Any, bounds: Sequence[Any] = ()) -> str:
    """A type in words, such as `integer ≥ 1, or null`."""
    if annotation == Place or _validates(annotation, bounds):
        return "path or URL"
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        more = [part for each in arguments[1:] for part in (each.metadata if isinstance(each, FieldInfo) else [each])]
        return _words(arguments[0], more)
    if origin in (typing.Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_words(each, bounds) for each in arguments))
    if origin is Literal:
        return ", ".join(f"`{_yaml(each)}`" for each in arguments)
    if origin is tuple:
        return f"list of: {_words(arguments[0])}"
    if origin is dict:
        return "a section"
    if annotation is type(None):
        return "`null`"
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return BELOW
    if any(getattr(bound, "pattern", None) == SLUG for bound in bounds):
        return "letters, digits, `.`, `_`, `-`"
    said = [
        f"{sign} {_yaml(getattr(bound, name))}"
        for bound in bounds
        for name, sign in BOUNDS.items()
        if hasattr(bound, name)
    ]
    return " ".join([PLAIN[annotation], ", ".join(said)]).strip()


def _validates(annotation: Any, bounds: Sequence[Any]) -> bool:
    """Whether it is a `Place` whose parts pydantic has taken apart."""
    return annotation is str and any(bound in typing.get_args(Place) for bound in bounds)


def _default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "`{}`" if field.default_factory is dict else "see meaning"
    if isinstance(field.default, Frozen):
        return "its defaults"
    return f"`{_yaml(field.default)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def _sections(annotation: Any) -> list[type[Frozen]]:
    if isinstance(annotation, type) and issubclass(annotation, Frozen):
        return [annotation]
    return [found for part in typing.get_args(annotation) for found in _sections(part)]


def _cell(text: str) -> str:
    return re.sub(r"\b(\w+\.md)\b", r"[\1](\1)", text.replace("|", "\\|"))


def described() -> Iterator[tuple[str, FieldInfo]]:
    """Every key of every section, with its class."""
    pending: list[type[Frozen]] = [Study, *(method.options for method in METHODS.values())]
    seen: set[type[Frozen]] = set()
    while pending:
        section = pending.pop()
        if section not in seen:
            seen.add(section)
            yield from ((f"{section.__name__}.{name}", field) for name, field in section.model_fields.items())
            pending += [inner for field in section.model_fields.values() for inner in _sections(field.annotation)]


if __name__ == "__main__":
    PAGE.write_text(page())
    print(PAGE)
