"""The ticket's file format, version 2: one safetensors file that turns a backbone into the model of one round.

For each prunable weight `w` the file holds `mask/w`, uint8, with one bit per weight in row-major order, the first
weight in the highest bit, padded with zeros (`numpy.packbits`), and `values/w`, the surviving values in the same order.
Every other trained tensor `t`, classifier included, is `dense/t`. `fingerprint` holds the logits of the batch of
`lion_ray.ticket.fingerprint`. The metadata entry `lion_ray` is a JSON object (`Header`), and its `digest` covers
everything else (`digest_of`). Nothing is pickled, so a ticket from a stranger is safe to open. docs/ticket_format.md
describes the format for other programs.
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
    """The JSON header, which says what the tensors mean.

    `backbone` and `method` are sections of the study file, `weights_digest` is that of the backbone's weights, and
    `transform` holds the size and normalisation of images. `shapes` are those of the masked weights, `numeric` holds
    the settings that the bits of logits depend on, `config` is the experiment's whole configuration, and `compact`
    counts what a compaction has removed.
    """

    format: int = FORMAT
    experiment: str
    round: int = Field(ge=0, lt=2**31)
    classes: tuple[str, ...] = Field(min_length=1)
    backbone: Annotated[dict[str, object], AfterValidator(checked_backbone)]
    weights_digest: str
    transform: Annotated[dict[str, object], AfterValidator(checked_transform)]
    method: Annotated[dict[str, Any], AfterValidator(checked_method)]
    metrics: dict[str, object]
    numeric: Annotated[dict[str, object], AfterValidator(checked_numeric)]
    config: dict[str, object]
    shapes: dict[str, tuple[Annotated[int, Field(ge=0, lt=2**40)], ...]] = Field(default_factory=dict)
    compact: dict[str, Any] = Field(default_factory=dict)
    digest: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ticket:
    """An opened ticket.

    `weights` holds all trained tensors by name, with zeros in pruned places, and `mask` the surviving weights.
    `fingerprint` holds the logits (4, classes) of the fixed batch when the ticket was packed. `url` is the place that
    it was read from; None if it was made in memory.
    """

    header: Header
    weights: Mapping[str, Tensor]
    mask: Mask
    fingerprint: Tensor | None = None
    url: str | None = None


def pack(ticket: Ticket) -> bytes:
    """The bytes of the ticket's file. Of a masked weight only the surviving values are written."""
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
    """The ticket in a file's bytes. Its digest is verified, and nothing is unpacked before `checked_size` accepts it.

    Args:
        payload: all bytes of the file.
        url: the place that the bytes were read from; None if there is none.

    Raises:
        TicketError: the bytes are no ticket, have another format, are damaged, or hold tensors that the model lacks.
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
    """The number of bytes of the whole file, after a check of the tensors that it lists.

    Args:
        head: the beginning of the file: 8 bytes with the length of its JSON, and the JSON.

    Raises:
        TicketError: the file lists other tensors than the header's method trains on the header's backbone.
    """
    entries = entries_of(head)
    check(read_header(head), entries)
    return len(head) + max((entry.end for entry in entries.values()), default=0)


def read_header(payload: bytes) -> Header:
    """The header alone, from the bytes of the whole file or of its beginning. The digest is not verified.

    Raises:
        TicketError: the bytes are no ticket, or have another format.
    """
    try:
        fields = json.loads(metadata_of(payload)["lion_ray"])
        version = fields.get("format")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TicketError("this file is not a lion_ray ticket") from error
    if version != FORMAT:
        raise TicketError(f"this ticket is of format {version}; this version reads format {FORMAT}")
    try:
        return Header.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where, what = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        raise TicketError(f"the ticket's header is wrong: {where}: {' '.join(what.split())[:300]}") from None


def metadata_of(payload: bytes) -> dict[str, str]:
    """The metadata of a safetensors file, from the bytes of the whole file or of its beginning.

    Raises:
        ValueError, KeyError: the bytes are no safetensors file with metadata.
    """
    length = int.from_bytes(payload[:8], "little")
    metadata: dict[str, str] = json.loads(payload[8 : 8 + length])["__metadata__"]
    return metadata


def digest_of(fields: Mapping[str, object], tensors: Mapping[str, Tensor]) -> str:
    """The SHA-256 of a header and of every tensor's name, dtype, shape and bytes.

    Args:
        fields: the header without its `digest`; it enters as canonical JSON.
        tensors: the file's tensors by name.
    """
    digest = hashlib.sha256(_json(fields).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(_json([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _json(value: object) -> str:
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
