"""Parser of a study file or an override: the part of YAML 1.2 that a study needs.

Only `true` and `false` are booleans, and numbers are decimal or have an exponent, so `yes`, `off`, `1:30`, `010` and
dates are strings. Anchors, aliases and merge keys work while the expanded document stays small. Other features are
refused with an error that names them. `lion_ray.config.reading` calls `parse` and adds the file or key to a
`ParseError`.
"""

from __future__ import annotations

import codecs
import itertools
import re
from typing import ClassVar, Protocol

import yaml

MOST_BYTES = 2**20
MOST_LEVELS = 60
TAGS = {None, "!", *(f"tag:yaml.org,2002:{name}" for name in ("str", "seq", "map"))}
TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
RESOLVED = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9_]{0,30})|0x[0-9a-fA-F]{1,16}", "-+0123456789"),
    "float": (
        r"[-+]?(?:(?:\.[0-9]+|[0-9][0-9_]*\.[0-9_]*)(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
        r"|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
    "merge": (r"<<", "<"),
}


class ParseError(ValueError):
    """The text is not YAML of the supported kind. The message gives line and column."""


def decoded(payload: bytes) -> str:
    """Decode the bytes of a file as UTF-8, or as UTF-16 if they begin with its byte order mark.

    Raises:
        ParseError: there are more than `MOST_BYTES` bytes.
        UnicodeDecodeError: the bytes are not valid text.
    """
    if len(payload) > MOST_BYTES:
        raise ParseError(f"is longer than {MOST_BYTES:,} bytes")
    is_wide = payload.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return payload.decode("utf-16" if is_wide else "utf-8-sig")


def parse(text: str) -> object:
    """Parse `text` into dicts, lists, strings, numbers, booleans and None. An empty text gives None.

    Raises:
        ParseError: the text cannot be parsed or uses a feature that is not supported. The message is one line.
    """
    try:
        _refuse_features(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _refuse_large(node)
            parsed: object = loader.construct_document(node)
            return parsed
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ParseError(f"is not valid YAML: {_message(error)}") from None
    except ParseError:
        raise
    except (ValueError, OverflowError, TypeError) as error:  # of Python's own `int` and `float`
        raise ParseError(f"is not valid YAML: {' '.join(str(error).split())[:200]}") from None


def _refuse_features(text: str) -> None:
    """Raise a `ParseError` for a second document, deep nesting or a tag, before any value is constructed."""
    level = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        where = _where(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise ParseError(f"{where}a second document begins; a study file is one")
        elif isinstance(event, yaml.CollectionStartEvent):
            level += 1
            if level > MOST_LEVELS:
                raise ParseError(f"{where}lists and sections lie more than {MOST_LEVELS} deep in each other")
        elif isinstance(event, yaml.CollectionEndEvent):
            level -= 1
        tag = getattr(event, "tag", None)
        if tag not in TAGS:
            raise ParseError(f"{where}the tag '{tag}' is not read; write a plain value")


def _refuse_large(root: yaml.Node) -> None:
    """Raise a `ParseError` if the document with all aliases expanded is too large, or if an alias contains itself."""
    sizes: dict[int, int | None] = {}  # None while a node is being measured
    pending = [(root, False)]
    while pending:
        node, is_measured = pending.pop()
        if is_measured:
            sizes[id(node)] = 1 + sum(sizes[id(part)] or 0 for part in _parts(node))
            if (sizes[id(node)] or 0) > MOST_BYTES:
                raise ParseError(f"{_where(node.start_mark)}its aliases stand for more than {MOST_BYTES:,} characters")
        elif isinstance(node, yaml.ScalarNode):
            sizes[id(node)] = 1 + len(node.value)
        elif id(node) not in sizes:
            sizes[id(node)] = None
            pending += [(node, True), *((part, False) for part in _parts(node))]
        elif sizes[id(node)] is None:
            raise ParseError(f"{_where(node.start_mark)}an alias stands for what it lies in")


def _parts(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return list(itertools.chain.from_iterable(node.value))
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


class _Position(Protocol):
    """A place in the text: the mark of either of PyYAML's parsers. Both numbers count from 0."""

    @property
    def line(self) -> int: ...

    @property
    def column(self) -> int: ...


def _where(mark: _Position | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""


def _message(error: yaml.YAMLError) -> str:
    """The message of PyYAML on one line, without the placeholder that it uses as a file name."""
    if isinstance(error, yaml.MarkedYAMLError):
        parts = [part for part in (error.context, error.problem) if part]
        return _where(error.problem_mark or error.context_mark) + ", ".join(parts)
    if isinstance(error, yaml.reader.ReaderError):
        return f"the character {error.character!r} is not allowed (place {error.position})"
    return " ".join(str(error).split())


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """`yaml.SafeLoader` with the scalars of YAML 1.2. It refuses duplicate keys."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, object]:
        """Construct a mapping. Its keys must be strings, and none may occur twice."""
        seen = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (TEXT, MERGE):
                raise _wrong(key, "a key has to be a text; quote it")
            if key.value in seen:
                raise _wrong(key, f"the key '{key.value}' is given twice")
            seen.add(key.value)
        mapping: dict[str, object] = super().construct_mapping(node, deep)
        return mapping

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Replace the merge key `<<` by the sections that it names.

        Keys of the mapping itself take precedence, and then those of the section that is named first.
        """
        own = [(key, value) for key, value in node.value if key.tag != MERGE]
        taken = {key.value for key, _ in own}
        for value in (value for key, value in node.value if key.tag == MERGE):
            for section in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(section, yaml.MappingNode):
                    raise _wrong(section, "<< takes a section, or a list of sections")
                self.flatten_mapping(section)
                new = [pair for pair in section.value if pair[0].value not in taken]
                own, taken = [*own, *new], taken | {key.value for key, _ in new}
        node.value = own


def _wrong(node: yaml.Node, problem: str) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


for _name, (_pattern, _first) in RESOLVED.items():
    _letters = [*_first, *([""] if _name == "null" else [])]
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"^(?:{_pattern})$"), _letters)
