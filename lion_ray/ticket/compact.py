"""Compaction of a ticket: hidden units that cannot change the output are removed. The result is an ordinary ticket.

A unit stays if a path of surviving weights leads from it to the output of `V`, directly or through `W`
(`lion_ray.methods.paths`). Ranks of a low-rank read-out that carry nothing are removed too. A unit that no input
reaches is constant: in a linear cell it is folded into the biases of the units that read it and of the classifier. In
a convolution zero padding makes such a unit depend on its position, so it stays. A convolution's group is removed as
a whole. `lion-ray compact` calls `compact`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lion_ray.implicit.rows import ROW_TILE
from lion_ray.lottery import Mask
from lion_ray.methods import AdaptedModel, paths
from lion_ray.ticket.checking import TicketError
from lion_ray.ticket.fingerprint import measure, numeric_settings
from lion_ray.ticket.format import Ticket
from lion_ray.ticket.loading import model_of

PROMPTS = {"input": ("body.prompt", "channels"), "output": ("head.prompt", "width")}
Weights = dict[str, Tensor]


def compact(ticket: Ticket, *, weights: str | None = None) -> Ticket:
    """The same function without the hidden units that cannot change it.

    Args:
        ticket: a ticket of the method `lion` with implicit cells.
        weights: the URL of the backbone's weights; None uses the place that the ticket names.

    Returns:
        A ticket with its own fingerprint. Its `header.compact` counts units and FLOPs before and after.

    Raises:
        TicketError: the method has no equilibrium cells, or the backbone cannot be loaded.
    """
    method = dict(ticket.header.method)
    if method["name"] != "lion" or method["cell"] != "implicit":
        raise TicketError("only LION's implicit cells have hidden units that can be removed")
    tensors, alive = dict(ticket.weights), dict(ticket.mask.alive)
    units: dict[str, list[int]] = {}
    for prompt, (place, width) in PROMPTS.items():
        if not method[prompt]:
            continue
        kept = _kept_units(tensors, place, groups=method[prompt].get("groups", 1))
        ranks = _kept_ranks(tensors, place)
        units[prompt] = [len(kept), int(kept.sum())]
        _slice(tensors, place, kept, ranks)
        _slice(alive, place, kept, ranks)
        method[prompt] = _resized(method[prompt], width, kept, ranks)
    if not method["input"] and not method["output"]:
        method = {"name": "linear"}
    before = flops(model_of(ticket, weights=weights))
    smaller = dataclasses.replace(
        ticket, header=ticket.header.model_copy(update={"method": method}), weights=tensors, mask=Mask(alive=alive)
    )
    model = model_of(smaller, weights=weights)
    counts = {"units": units, "flops": [before, flops(model)], "flops_of_backbone": flops_of_backbone(model)}
    numeric = {**smaller.header.numeric, **numeric_settings()}  # those of the new fingerprint
    header = smaller.header.model_copy(update={"compact": counts, "numeric": numeric})
    return dataclasses.replace(smaller, header=header, fingerprint=measure(model))


def _resized(
    options: Mapping[str, Any], width: str, kept: Tensor, ranks: Tensor | None
) -> dict[str, object] | Literal[False]:
    """A prompt's options with the numbers of units, groups and ranks that are kept; False if no unit is kept."""
    num_kept, groups = int(kept.sum()), options.get("groups", 1)
    if not num_kept:
        return False
    group_options = {"groups": groups * num_kept // len(kept)} if groups > 1 else {}
    return {**options, width: num_kept, **group_options, **({} if ranks is None else {"rank": int(ranks.sum())})}


def flops(model: AdaptedModel) -> int:
    """Floating-point operations (two per multiply-add) for one image's logits, with the solver steps that it takes.

    The head is counted on a tile of `ROW_TILE` rows and divided, because products pad a single row to a whole tile
    (`lion_ray.implicit.rows`).
    """
    with torch.no_grad():
        features = model.body(_image(model)).expand(ROW_TILE, -1)
    return _count(model.body, _image(model)) + _count(model.head, features) // ROW_TILE


def flops_of_backbone(model: AdaptedModel) -> int:
    """Floating-point operations of the frozen backbone for one image. They are the same for every ticket."""
    return _count(model.body.backbone, _image(model))


def _count(module: nn.Module, x: Tensor) -> int:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(x)
    return int(counter.get_total_flops())


def _image(model: AdaptedModel) -> Tensor:
    size = model.body.backbone.transform.size
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def _kept_units(tensors: Weights, place: str, *, groups: int) -> Tensor:
    """Which units stay, bool (d,). Constant units of a linear cell are folded into biases of `tensors`, in place."""
    cell, V, R = f"{place}.equilibrium.cell", tensors[f"{place}.V"], tensors.get(f"{place}.R")
    W, U = tensors[f"{cell}.W"], tensors[f"{cell}.U"]
    written = paths.written_units(V, R, len(W))
    (units,) = paths.units_of([(W, U)], written, groups=groups, is_recurrent=True)
    kept = units.heard
    if units.is_linear:
        return _fold_constants(tensors, place, kept, kept & ~units.varying)
    return kept if groups == 1 else kept.reshape(groups, -1).any(1).repeat_interleave(len(kept) // groups)


def _fold_constants(tensors: Weights, place: str, kept: Tensor, constant: Tensor) -> Tensor:
    cell = f"{place}.equilibrium.cell"
    W, b = tensors[f"{cell}.W"].double(), tensors[f"{cell}.b"].double()
    z = torch.zeros(int(constant.sum()), dtype=torch.float64)
    among = W[constant][:, constant]
    for _ in range(2000):
        z, before = torch.tanh(among @ z + b[constant]), z
    if not constant.any() or (z - before).abs().max() > 1e-12:  # an unbounded cell need not settle
        return kept
    V, C = tensors[f"{place}.V"].double(), tensors["head.classifier.weight"].double()
    dtype = tensors[f"{cell}.b"].dtype
    tensors[f"{cell}.b"] = (b + torch.where(constant, 0, W[:, constant] @ z)).to(dtype)
    bias = tensors["head.classifier.bias"].double() + C @ (V[:, constant] @ z)
    tensors["head.classifier.bias"] = bias.to(dtype)
    return kept & ~constant


def _kept_ranks(tensors: Weights, place: str) -> Tensor | None:
    """Which ranks of a low-rank read-out carry anything, bool (ranks,); None if the read-out has full rank."""
    R = tensors.get(f"{place}.R")
    return None if R is None else paths.ranks_heard(tensors[f"{place}.V"], R)


def _slice(tensors: dict[str, Tensor], place: str, kept: Tensor, ranks: Tensor | None) -> None:
    """Keep only the rows and columns of kept units and ranks, in place. A prompt without units loses all tensors."""
    cell = f"{place}.equilibrium.cell"
    names = [f"{cell}.W", f"{cell}.U", f"{cell}.b", f"{place}.V", f"{place}.R"]
    for name in [name for name in names if name in tensors]:
        tensor = tensors.pop(name)
        if not kept.any():
            continue
        if name.endswith(".R"):
            tensors[name] = tensor[ranks].reshape(-1, len(kept), tensor.shape[1] // len(kept))[:, kept].flatten(1)
        elif name.endswith(".V") and ranks is not None:
            tensors[name] = tensor[:, ranks]
        elif name.endswith(".V"):
            tensors[name] = tensor[:, kept] if tensor.dim() == 2 else tensor[kept]
        else:
            is_full = name.endswith(".W") and tensor.shape[1] == len(kept)
            tensors[name] = tensor[kept][:, kept] if is_full else tensor[kept]
