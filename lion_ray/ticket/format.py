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
from typing import Any

import numpy as np
import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lion_ray.config import Frozen
from lion_ray.lottery import Mask

FORMAT = 2


class TicketError(ValueError):
    """The file is not a ticket, is damaged, is of another format, or does not belong to the backbone at hand."""


class Header(Frozen):
    """What the tensors mean: `shapes` are the masked weights', `numeric` the settings that the bits depend on.

    `config` is the experiment's whole configuration; `compact` says what a compact export left out.
    """

    format: int = FORMAT
    experiment: str
    round: int
    classes: tuple[str, ...] = Field(min_length=1)
    backbone: dict[str, Any]
    weights_digest: str
    transform: dict[str, Any]
    method: dict[str, Any]
    metrics: dict[str, Any]
    numeric: dict[str, Any]
    config: dict[str, Any]
    shapes: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    compact: dict[str, Any] = Field(default_factory=dict)
    digest: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ticket:
    """All trained tensors by name (pruned entries 0), their mask, and the logits (B, classes) they gave when packed."""

    header: Header
    weights: Mapping[str, Tensor]
    mask: Mask
    fingerprint: Tensor | None = None


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


def unpack(payload: bytes) -> Ticket:
    """The ticket in a file's bytes, its digest verified.

    Raises:
        TicketError: not a ticket, of another format, or damaged.
    """
    header = read_header(payload)
    try:
        tensors = load_safetensors(payload)
    except (SafetensorError, ValueError) as error:
        raise TicketError(f"the file is damaged ({' '.join(str(error).split())})") from error
    try:
        if digest_of(header.model_dump(mode="json", exclude={"digest"}), tensors) != header.digest:
            raise TicketError("the file is damaged: its contents do not match its digest")
        weights = {name[len("dense/") :]: tensor for name, tensor in tensors.items() if name.startswith("dense/")}
        alive = {name: _bits(tensors[f"mask/{name}"], shape) for name, shape in header.shapes.items()}
        weights |= {name: _spread(tensors[f"values/{name}"], entry) for name, entry in alive.items()}
    except TicketError:
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise TicketError(f"the file is no complete ticket: {error}") from error
    return Ticket(header=header, weights=weights, mask=Mask(alive=alive), fingerprint=tensors.get("fingerprint"))


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
        raise TicketError(f"the ticket's header is wrong: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


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
