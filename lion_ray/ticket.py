"""The shipped file: one safetensors file per round that holds all a backbone needs to become that round's model.

Format 1. For each prunable weight `w`: `mask/w`, uint8, one bit per weight in row-major order, the first weight in the
highest bit, padded with zeros (`numpy.packbits`); and `values/w`, the surviving values in the same order. For every
other trained tensor `t`, classifier included: `dense/t`. The metadata entry `lion_ray` is a JSON object (`Header`).
Nothing is pickled, so a ticket from a stranger is safe to open.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lion_ray import backbones, methods
from lion_ray.config import BackboneConfig, MethodConfig
from lion_ray.lottery import Mask
from lion_ray.methods import AdaptedModel
from lion_ray.store import open_url

FORMAT = 1


class TicketError(ValueError):
    """The file is not a ticket, is of another format, or does not belong to the backbone at hand."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What the tensors mean: `shapes` are the masked weights', `numeric` the settings that the bits depend on."""

    experiment: str
    round: int
    classes: tuple[str, ...]
    backbone: Mapping[str, Any]
    weights_digest: str
    transform: Mapping[str, Any]
    method: Mapping[str, Any]
    metrics: Mapping[str, Any]
    numeric: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    format: int = FORMAT


def pack(weights: Mapping[str, Tensor], mask: Mask, header: Header) -> bytes:
    """The file's bytes. `weights` are all trained tensors; those that `mask` names lose their pruned entries."""
    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if name not in mask.alive:
            tensors[f"dense/{name}"] = weight.detach().cpu().contiguous()
            continue
        alive = mask.alive[name].cpu()
        tensors[f"mask/{name}"] = torch.from_numpy(np.packbits(alive.numpy().reshape(-1)))
        tensors[f"values/{name}"] = weight.detach().cpu()[alive].contiguous()
    shapes = {name: tuple(entry.shape) for name, entry in mask.alive.items()}
    text = json.dumps(dataclasses.asdict(dataclasses.replace(header, shapes=shapes)), sort_keys=True)
    return save_safetensors(tensors, metadata={"lion_ray": text})


def unpack(payload: bytes) -> tuple[dict[str, Tensor], Mask, Header]:
    """The trained tensors (pruned entries 0), their mask and the header.

    Raises:
        TicketError: not a ticket, or of another format.
    """
    header = read_header(payload)
    tensors = load_safetensors(payload)
    weights = {name[len("dense/") :]: tensor for name, tensor in tensors.items() if name.startswith("dense/")}
    alive: dict[str, Tensor] = {}
    for name, shape in header.shapes.items():
        bits = np.unpackbits(tensors[f"mask/{name}"].numpy(), count=int(np.prod(shape)))
        alive[name] = torch.from_numpy(bits.astype(bool)).reshape(tuple(shape))
        values = tensors[f"values/{name}"]
        weights[name] = torch.zeros(tuple(shape), dtype=values.dtype).masked_scatter_(alive[name], values)
    return weights, Mask(alive=alive), header


def read_header(payload: bytes) -> Header:
    """The JSON header alone."""
    try:
        length = int.from_bytes(payload[:8], "little")
        text = json.loads(payload[8 : 8 + length])["__metadata__"]["lion_ray"]
        fields = json.loads(text)
        found = fields.get("format")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TicketError("this file is not a lion_ray ticket") from error
    if found != FORMAT:
        raise TicketError(f"this ticket is of format {found}; this version reads format {FORMAT}")
    return Header(**fields)


def load_ticket(url: str, *, weights: str | None = None, device: str | torch.device = "cpu") -> AdaptedModel:
    """A ready model from a ticket at any fsspec URL, in evaluation mode: its backbone, prompts and classifier.

    Args:
        weights: where the backbone's weights are, if not where the ticket says (a path or URL, `hub`, `package`).

    Raises:
        TicketError: not a ticket, another format, or other backbone weights than those it was trained on.
    """
    with open_url(url) as file:
        payload = file.read()
    try:
        values, _, header = unpack(payload)
    except (SafetensorError, KeyError) as error:
        raise TicketError(f"{url}: the file is damaged ({error})") from error
    config = BackboneConfig(**{**header.backbone, **({"weights": weights} if weights else {})})
    backbone = copy.deepcopy(backbones.load(config, source=url))  # the caller may move or cast it
    if backbone.weights_digest != header.weights_digest:
        raise TicketError(f"{url}: trained on other weights of {config.name} than '{config.weights}' holds")
    model = methods.build(MethodConfig(**header.method), backbone, num_classes=len(header.classes), seed=0)
    model.load_trained(values)
    return model.to(device).eval()
