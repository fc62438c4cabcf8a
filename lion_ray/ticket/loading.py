"""From a ticket to a ready model: its backbone, prompts and classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from lion_ray import backbones, methods
from lion_ray.backbones import Transform
from lion_ray.config import BackboneConfig, MethodConfig, StudyError
from lion_ray.methods import AdaptedModel
from lion_ray.store import open_url, read_up_to
from lion_ray.ticket.checking import MOST_HEADER_BYTES, NumericFields, Precision, TicketError
from lion_ray.ticket.format import Ticket, checked_size, unpack
from lion_ray.ticket.origin import REMEDY, backbone_section


def open_ticket(url: str) -> Ticket:
    """The ticket at any fsspec URL, its digest verified.

    Raises:
        TicketError: not a ticket, of another format, or damaged.
        OSError: it cannot be read.
    """
    try:
        return unpack(_read(url), url=url)
    except TicketError as error:
        raise TicketError(f"{url}: {error}") from error


def _read(url: str) -> bytes:
    """The file's bytes: first what says how many there are, then no more than those."""
    with open_url(url) as file:
        head = read_up_to(file, 8)
        length = int.from_bytes(head, "little")
        if length > MOST_HEADER_BYTES:
            raise TicketError("this file is not a lion_ray ticket")
        head += read_up_to(file, length)
        return head + read_up_to(file, checked_size(head) - len(head) + 1)


def load_ticket(
    url: str,
    *,
    weights: str | None = None,
    device: str | torch.device = "cpu",
    precision: Precision | None = None,
) -> AdaptedModel:
    """A ready model from a ticket at any fsspec URL, in evaluation mode; `predict` runs it on image files.

    Args:
        weights: where the backbone's weights are, if not where the ticket says (a path or URL, `hub`, `package`).
        precision: what to compute in, `fp32` or `bf16`; None: what its accuracies were measured in.

    Raises:
        TicketError: not a ticket, damaged, another format, other backbone weights than those it was trained on, or no
            such device.
        OSError: it cannot be read.
    """
    ticket = open_ticket(url)
    try:
        return _moved(model_of(ticket, weights=weights, precision=precision), device)
    except TicketError as error:
        raise TicketError(f"{url}: {error}") from error


def model_of(
    ticket: Ticket,
    *,
    weights: str | None = None,
    backbone: backbones.Backbone | None = None,
    precision: Precision | None = None,
) -> AdaptedModel:
    """The model of an opened ticket, on the CPU, in evaluation mode.

    Args:
        weights: where the backbone's weights are, if not where the ticket says.
        backbone: the backbone itself, where it is loaded already; it is copied.
        precision: what to compute in; None: what the ticket was evaluated in.

    Raises:
        TicketError: unknown backbone or method, missing or other backbone weights, or tensors that do not fit.
    """
    header = ticket.header
    try:
        config = BackboneConfig(**{**header.backbone, **({"weights": weights} if weights else {})})
        if not weights and backbone is None:
            config = backbone_section(ticket)
        shared = backbone or backbones.load(config, source="the ticket")
        if shared.weights_digest != header.weights_digest:
            raise TicketError(f"trained on other weights of {config.name} than '{config.weights}' holds")
        own = shared.on_host()  # the caller may move or cast it
        own.transform = _transform(header.transform)
        model = methods.build(MethodConfig(**header.method), own, num_classes=len(header.classes), seed=0)
        model.load_trained(ticket.weights)
    except TicketError:
        raise
    except StudyError as error:
        remedy = REMEDY if error.args[1] == "backbone.weights" else ""
        raise TicketError(f"{' '.join(str(error).split())}{remedy}") from error
    except (ValueError, TypeError, RuntimeError) as error:
        raise TicketError(" ".join(str(error).split())) from error
    model.classes = header.classes
    model.compute_in(precision or precision_of(ticket))
    return model.eval()


def precision_of(ticket: Ticket) -> Precision:
    """What the ticket was evaluated in."""
    return NumericFields.model_validate(ticket.header.numeric).precision


def _transform(fields: Mapping[str, Any]) -> Transform:
    """What the ticket was trained on, whatever this timm says of the backbone now."""
    try:
        return Transform(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
    except (KeyError, TypeError) as error:
        raise TicketError(f"the ticket's transform is incomplete: {dict(fields)}") from error


def _moved(model: AdaptedModel, device: str | torch.device) -> AdaptedModel:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch's words for a device that is not there
        raise TicketError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
