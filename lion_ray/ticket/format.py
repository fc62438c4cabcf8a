"""The shipped file: one safetensors file per round that holds all a backbone needs to become that round's model.

Format 2. For each prunable weight `w`: `mask/w`, uint8, one bit per weight in row-major order, the first weight in the
highest bit, padded with zeros (`numpy.packbits`); and `values/w`, the surviving values in the same order. For every
other trained tensor `t`, classifier included: `dense/t`. `fingerprint`: the logits of the batch of `fingerprint.py`.
The metadata entry `lion_ray` is a JSON object (`Header`); its `digest` covers all else (`digest_of`). Nothing is
pickled, so a ticket from a stranger is safe to open. docs/ticket_format.md has it for other programs.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import AfterValidator, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lion_ray.config import Frozen
from lion_ray.lottery import Mask
from lion_ray.ticket.checking import (
    TicketError,
    check,
    checked_backbone,
    checked_method,
    checked_numeric,
    checked_transform,
    entries_of,
)

FORMAT = 2


class Header(Frozen):
    """What the tensors mean: `shapes` are the masked weights', `numeric` the settings that the bits depend on.

    `config` is the experiment's whole configuration; `compact` says what a compact export left out.
    """

    format: int = FORMAT
    experiment: str
    round: int = Field(ge=0, lt=2**31)
    classes: tuple[str, ...] = Field(min_length=1)
    backbone: Annotated[dict[str, Any], AfterValidator(checked_backbone)]
    weights_digest: str
    transform: Annotated[dict[str, Any], AfterValidator(checked_transform)]
    method: Annotated[dict[str, Any], AfterValidator(checked_method)]
    metrics: dict[str, Any]
    numeric: Annotated[dict[str, Any], AfterValidator(checked_numeric)]
    config: dict[str, Any]
    shapes: dict[str, tuple[Annotated[int, Field(ge=0, lt=2**40)], ...]] = Field(default_factory=dict)
    compact: dict[str, Any] = Field(default_factory=dict)
    digest: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ticket:
    """All trained tensors by name (pruned entries 0), their mask, and the logits (B, classes) they gave when packed.

    `url` is where it was read from; None if it was not.
    """

    header: Header
    weights: Mapping[str, Tensor]
    mask: Mask
    fingerprint: Tensor | None = None
    url: str | None = None


def pack(ticket: Ticket) -> bytes:
    """The file's bytes; the weights that the mask names lose their pruned entries."""
    tensors: dict[str, Tensor] = {}
    for name, weight in ticket.weights.items():
        if name not in ticket.mask.alive:
            tensors[f"dense/{name}"] = weight.detach().cpu().contiguous()
            continue
        alive = ticket.mask.alive[name].cpu()
        tensors[f"mask/{name}"] = torch.from_numpy(np.packbits(alive.numpy().reshape(-1)))
        tensors[f"values/{name}"] = weight.detach().cpu()[alive].contiguous()
    if ticket.fingerprint is not None:
        tensors["fingerprint"] = ticket.fingerprint.contiguous()
    shapes = {name: tuple(entry.shape) for name, entry in ticket.mask.alive.items()}
    fields = {**ticket.header.model_dump(mode="json", exclude={"digest"}), "shapes": shapes}
    text = _json({**fields, "digest": digest_of(fields, tensors)})
    return save_safetensors(tensors, metadata={"lion_ray": text})


def unpack(payload: bytes, *, url: str | None = None) -> Ticket:
    """The ticket in a file's bytes, its digest verified; they are unpacked only if `checked_size` finds no fault.

    Raises:
        TicketError: not a ticket, of another format, damaged, or with tensors that its model does not have.
    """
    head = payload[: 8 + int.from_bytes(payload[:8], "little")]
    header = read_header(head)
    if checked_size(head) != len(payload):
        raise TicketError("the file is damaged: it is cut, or goes on behind its end")
    try:
        tensors = load_safetensors(payload)
        if digest_of(header.model_dump(mode="json", exclude={"digest"}), tensors) != header.digest:
            raise TicketError("the file is damaged: its contents do not match its digest")
        weights = {name[len("dense/") :]: tensor for name, tensor in tensors.items() if name.startswith("dense/")}
        alive = {name: _bits(tensors[f"mask/{name}"], shape) for name, shape in header.shapes.items()}
        weights |= {name: _spread(tensors[f"values/{name}"], entry) for name, entry in alive.items()}
    except TicketError:
        raise
    except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise TicketError(f"the file is no complete ticket: {' '.join(str(error).split())}") from error
    for name, weight in weights.items():
        if not bool(weight.isfinite().all()):
            raise TicketError(f"{name} holds numbers that are not finite")
    return Ticket(
        header=header, weights=weights, mask=Mask(alive=alive), fingerprint=tensors.get("fingerprint"), url=url
    )


def checked_size(head: bytes) -> int:
    """How many bytes the file has that begins with `head`: its length, and the JSON that is so long.

    Raises:
        TicketError: what it lists is not what the header's method trains on the header's backbone.
    """
    entries = entries_of(head)
    check(read_header(head), entries)
    return len(head) + max((entry.end for entry in entries.values()), default=0)


def read_header(payload: bytes) -> Header:
    """The JSON header alone, from the whole file or its beginning. Its digest is not verified.

    Raises:
        TicketError: not a ticket, or of another format.
    """
    try:
        fields = json.loads(metadata_of(payload)["lion_ray"])
        found = fields.get("format")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TicketError("this file is not a lion_ray ticket") from error
    if found != FORMAT:
        raise TicketError(f"this ticket is of format {found}; this version reads format {FORMAT}")
    try:
        return Header.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise TicketError(f"the ticket's header is wrong: {where}: {' '.join(what.split())[:300]}") from None


def metadata_of(payload: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, from the whole of it or its beginning; ValueError or KeyError if none."""
    length = int.from_bytes(payload[:8], "little")
    metadata: dict[str, str] = json.loads(payload[8 : 8 + length])["__metadata__"]
    return metadata


def digest_of(fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the header without its digest, as canonical JSON, and of every tensor: name, dtype, shape, bytes."""
    digest = hashlib.sha256(_json(fields).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(_json([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _bits(packed: Tensor, shape: tuple[int, ...]) -> Tensor:
    count = math.prod(shape)
    if packed.dtype != torch.uint8 or len(packed) != -(-count // 8):
        raise ValueError(f"a mask of {len(packed)} bytes does not fit the shape {shape}")
    return torch.from_numpy(np.unpackbits(packed.numpy(), count=count).astype(bool)).reshape(shape)


def _spread(values: Tensor, alive: Tensor) -> Tensor:
    if values.shape != (int(alive.sum()),):
        raise ValueError(f"{tuple(values.shape)} values for a mask of {int(alive.sum())}")
    return torch.zeros(alive.shape, dtype=values.dtype).masked_scatter_(alive, values)
