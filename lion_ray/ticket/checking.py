"""Checks of a ticket before any model is built, any weight is fetched and any tensor is unpacked.

A ticket may come from a stranger, so its header alone must say how large everything is. The tensors that the file
lists (`TensorEntry`) have to be those that the method trains on the backbone. Their shapes are found on torch's device
`meta`, where nothing is allocated. `lion_ray.ticket.format` calls `check`, and its `Header` uses `checked_*`.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lion_ray import backbones, methods
from lion_ray.config import LARGEST_IMAGE, BackboneConfig, MethodConfig, StudyError
from lion_ray.data import Resize
from lion_ray.methods import AdaptedModel

if TYPE_CHECKING:
    from lion_ray.ticket.format import Header

BATCH = 4  # images of a fingerprint
MOST_HEADER_BYTES = 16 * 2**20
MOST_TENSORS = 20_000
MOST_THREADS = 1024
LEAST_CROP = 0.1
NUM_BYTES = {"U8": 1, "F32": 4}
Shapes = dict[str, tuple[int, ...]]
Section = TypeVar("Section", bound=BaseModel)


class TicketError(ValueError):
    """The file is not a ticket, is damaged, has another format, or belongs to other backbone weights."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """A tensor as the file lists it.

    `dtype` is the type's name in safetensors, such as `F32`. Its bytes lie from `start` to `end`, counted from the end
    of the file's header.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class TransformFields(BaseModel):
    """The fields of `transform` in a header."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    size: int = Field(ge=1, le=LARGEST_IMAGE)
    interpolation: str
    crop_fraction: float | None = Field(ge=LEAST_CROP, le=1)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


Precision: TypeAlias = Literal["fp32", "bf16"]


class NumericFields(BaseModel):
    """The fields of `numeric` in a header that programs use. Its other fields are shown to people."""

    threads: int = Field(default=1, ge=1, le=MOST_THREADS)
    precision: Precision = "fp32"  # a ticket without the field was evaluated in fp32


def checked_transform(fields: Mapping[str, object]) -> Mapping[str, object]:
    """The same `fields`, if they describe a transform. Otherwise a ValueError names the first wrong field."""
    transform = _validated(TransformFields, fields)
    Resize(size=transform.size, interpolation=transform.interpolation, crop_fraction=transform.crop_fraction)
    if min(transform.std) <= 0:
        raise ValueError(f"std: {transform.std} must be above 0")
    return fields


def checked_numeric(fields: Mapping[str, object]) -> Mapping[str, object]:
    """The same `fields`, if their number of threads and precision can be used. Otherwise a ValueError is raised."""
    _validated(NumericFields, fields)
    return fields


def checked_backbone(fields: Mapping[str, object]) -> Mapping[str, object]:
    """The same `fields`, if they are a `backbone` section of a study file. Otherwise a ValueError is raised."""
    _validated(BackboneConfig, fields)
    return fields


def checked_method(fields: Mapping[str, object]) -> Mapping[str, object]:
    """The same `fields`, if they name a method and options that it accepts. Otherwise a ValueError is raised."""
    methods.options_of(_validated(MethodConfig, fields), source="", key="")
    return fields


def entries_of(head: bytes) -> dict[str, TensorEntry]:
    """The tensors that a safetensors file lists, by name.

    Args:
        head: the beginning of the file: 8 bytes with the length of its JSON, and the JSON.

    Raises:
        TicketError: the list is damaged, or its tensors do not lie one behind the other without a gap.
    """
    try:
        listed = {name: fields for name, fields in json.loads(head[8:]).items() if name != "__metadata__"}
        entries = {name: _entry(fields) for name, fields in listed.items()}
    except TicketError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TicketError(f"the file is damaged ({_line(error)})") from None
    at = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.start, entry.end)):
        if entry.start != at or entry.end - at != math.prod(entry.shape) * NUM_BYTES[entry.dtype]:
            raise TicketError("the file is damaged (its tensors do not fill it)")
        at = entry.end
    return entries


def check(header: Header, entries: Mapping[str, TensorEntry]) -> None:
    """Compare the tensors that a file lists with those that its header implies.

    Raises:
        TicketError: the backbone is unknown, or the file lists other tensors than the method trains on it.
    """
    if len(entries) > MOST_TENSORS:
        raise TicketError(f"the file lists {len(entries):,} tensors, at most {MOST_TENSORS:,} can be")
    masked, classes = dict(header.shapes), len(header.classes)
    expected: dict[str, tuple[str, tuple[int, ...]]]
    expected = {f"mask/{name}": ("U8", (-(-math.prod(shape) // 8),)) for name, shape in masked.items()}
    shapes: Shapes = dict(masked)
    for name, entry in entries.items():
        kind, _, weight = name.partition("/")
        if kind == "dense" and weight not in masked:
            shapes[weight] = entry.shape
            expected[name] = ("F32", entry.shape)
        elif kind == "values" and weight in masked:
            if len(entry.shape) != 1 or entry.shape[0] > math.prod(masked[weight]):
                raise TicketError(f"{name} has shape {entry.shape}, more than its mask's {masked[weight]} can hold")
            expected[name] = ("F32", entry.shape)
        elif name == "fingerprint":
            expected[name] = ("F32", (BATCH, classes))
    expected |= {f"values/{name}": ("F32", (-1,)) for name in masked if f"values/{name}" not in entries}
    if wrong := sorted(entries.keys() ^ expected.keys()):
        raise TicketError(f"the file is no complete ticket: {wrong[0]} is {_too_much(wrong[0] in entries)}")
    for name, entry in entries.items():
        if (entry.dtype, entry.shape) != expected[name]:
            kind, shape = expected[name]
            raise TicketError(f"{name} is {entry.dtype} {entry.shape}, and should be {kind} {shape}")
    _check_shapes(header, shapes)


def _check_shapes(header: Header, shapes: Shapes) -> None:
    method, config = json.dumps(header.method, sort_keys=True), BackboneConfig.model_validate(header.backbone)
    size = TransformFields.model_validate(header.transform).size
    for is_folded in (True, False):  # a backbone whose batch normalisations do not fold keeps them
        implied = _implied(method, config, size, len(header.classes), is_folded)
        if implied == shapes:
            return
    wrong = sorted(name for name in implied.keys() | shapes.keys() if implied.get(name) != shapes.get(name))
    expected, actual = implied.get(wrong[0]), shapes.get(wrong[0])
    raise TicketError(
        f"{wrong[0]} has shape {actual}, expected {expected}"
        if expected is not None and actual is not None
        else f"trained tensors differ: {wrong[0]} is {_too_much(actual is not None)}"
    )


@functools.lru_cache(maxsize=64)
def _implied(method: str, config: BackboneConfig, size: int, num_classes: int, is_folded: bool) -> Shapes:
    """The shapes of the tensors that a method, given as JSON, trains on a backbone."""
    try:
        outline = backbones.outline(config, source="the ticket", is_folded=is_folded)
        resized = copy.copy(outline)
        resized.transform = dataclasses.replace(outline.transform, size=size)
        with torch.device("meta"):
            model = methods.build(MethodConfig(**json.loads(method)), resized, num_classes=num_classes, seed=0)
    except (StudyError, MemoryError) as error:
        raise TicketError(_line(error)) from error
    except Exception as error:  # timm's models and torch raise kinds of their own on odd shapes
        raise TicketError(f"its method cannot be had on {config.name}: {_line(error)}") from error
    return _shapes(model)


def _shapes(model: AdaptedModel) -> Shapes:
    return {name: tuple(parameter.shape) for name, parameter in model.trained().items()}


def _entry(fields: Mapping[str, Any]) -> TensorEntry:
    dtype, shape, (start, end) = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not all(type(number) is int and 0 <= number < 2**62 for number in (*shape, start, end)):
        raise ValueError("a shape or place is no number of things")
    if dtype not in NUM_BYTES:
        raise TicketError(f"the file is no complete ticket: it holds {dtype}, and not only {' and '.join(NUM_BYTES)}")
    return TensorEntry(dtype=dtype, shape=tuple(shape), start=start, end=end)


def _validated(model: type[Section], fields: Mapping[str, object]) -> Section:
    try:
        return model.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _too_much(is_there: bool) -> str:
    return "too much" if is_there else "missing"


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
