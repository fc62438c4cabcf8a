"""Loading of tickets: a ticket's backbone, prompts and classifier become a model that is ready to predict.

`lion_ray.load_ticket` and the commands of `lion_ray.cli.tickets` call this module.
"""

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
    """Read and verify the ticket at a local path or any fsspec URL.

    Raises:
        TicketError: the file is no ticket, has another format, or is damaged.
        OSError: the file cannot be read.
    """
    try:
        return unpack(_read(url), url=url)
    except TicketError as error:
        raise TicketError(f"{url}: {error}") from error


def _read(url: str) -> bytes:
    """The file's bytes. Its head is read first, and then no more bytes than the head announces."""
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
    """The model of a ticket, in evaluation mode. `lion_ray.predict` classifies images with it.

    Args:
        url: the ticket's local path or fsspec URL.
        weights: the backbone's weights: a path or URL, `hub` or `package`; None uses the place that the ticket names.
        device: the torch device of the model, such as `cuda`.
        precision: the precision to compute in; None uses the one in which the ticket's accuracies were measured.

    Raises:
        TicketError: the file is no ticket, has another format or is damaged; the backbone's weights are others than
            those it was trained on; or the device cannot be used.
        OSError: the file cannot be read.
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
    """The model of an opened ticket, on the CPU and in evaluation mode.

    Args:
        ticket: the opened ticket.
        weights: the backbone's weights: a path or URL, `hub` or `package`; None uses the place that the ticket names.
        backbone: the loaded backbone, which is copied; None loads it.
        precision: the precision to compute in; None uses the one in which the ticket was evaluated.

    Raises:
        TicketError: the backbone or the method is unknown, the backbone's weights are missing or others than those it
            was trained on, or a tensor does not fit.
    """
    header = ticket.header
    try:
        config = BackboneConfig.model_validate({**header.backbone, **({"weights": weights} if weights else {})})
        if not weights and backbone is None:
            config = backbone_section(ticket)
        shared = backbone or backbones.load(config, source="the ticket")
        if shared.weights_digest != header.weights_digest:
            raise TicketError(f"trained on other weights of {config.name} than '{config.weights}' holds")
        copied = shared.on_host()  # the caller may move or cast it
        copied.transform = _transform(header.transform)
        model = methods.build(MethodConfig(**header.method), copied, num_classes=len(header.classes), seed=0)
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
    """The precision in which the ticket was evaluated."""
    return NumericFields.model_validate(ticket.header.numeric).precision


def _transform(fields: Mapping[str, Any]) -> Transform:
    """The transform of the ticket's training, even if this version of timm gives the backbone another."""
    try:
        return Transform(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})
    except (KeyError, TypeError) as error:
        raise TicketError(f"the ticket's transform is incomplete: {dict(fields)}") from error


def _moved(model: AdaptedModel, device: str | torch.device) -> AdaptedModel:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # what torch raises for a device that is not there
        raise TicketError(f"device '{device}' cannot be used: {str(error).splitlines()[0]}") from error
