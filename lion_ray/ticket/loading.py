"""From a ticket to a ready model: its backbone, prompts and classifier."""

from __future__ import annotations

import copy

import torch

from lion_ray import backbones, methods
from lion_ray.config import BackboneConfig, MethodConfig, StudyError
from lion_ray.methods import AdaptedModel
from lion_ray.store import open_url
from lion_ray.ticket.format import Ticket, TicketError, unpack


def open_ticket(url: str) -> Ticket:
    """The ticket at any fsspec URL, its digest verified.

    Raises:
        TicketError: not a ticket, of another format, or damaged.
        OSError: it cannot be read.
    """
    with open_url(url) as file:
        payload = file.read()
    try:
        return unpack(payload)
    except TicketError as error:
        raise TicketError(f"{url}: {error}") from error


def load_ticket(url: str, *, weights: str | None = None, device: str | torch.device = "cpu") -> AdaptedModel:
    """A ready model from a ticket at any fsspec URL, in evaluation mode.

    Args:
        weights: where the backbone's weights are, if not where the ticket says (a path or URL, `hub`, `package`).

    Raises:
        TicketError: not a ticket, damaged, another format, or other backbone weights than those it was trained on.
        OSError: it cannot be read.
    """
    try:
        return model_of(open_ticket(url), weights=weights).to(device)
    except TicketError as error:
        raise error if str(error).startswith(url) else TicketError(f"{url}: {error}") from error


def model_of(ticket: Ticket, *, weights: str | None = None) -> AdaptedModel:
    """The model of an opened ticket, on the CPU, in evaluation mode.

    Raises:
        TicketError: unknown backbone or method, missing or other backbone weights, or tensors that do not fit.
    """
    header = ticket.header
    try:
        config = BackboneConfig(**{**header.backbone, **({"weights": weights} if weights else {})})
        shared = backbones.load(config, source="the ticket")
        if shared.weights_digest != header.weights_digest:
            raise TicketError(f"trained on other weights of {config.name} than '{config.weights}' holds")
        backbone = copy.deepcopy(shared)  # the caller may move or cast it
        model = methods.build(MethodConfig(**header.method), backbone, num_classes=len(header.classes), seed=0)
        model.load_trained(ticket.weights)
    except TicketError:
        raise
    except (StudyError, ValueError, TypeError) as error:
        raise TicketError(" ".join(str(error).split())) from error
    return model.eval()
