"""The product: one small file per round, the model it turns a backbone into, and what can be done with it."""

from lion_ray.ticket.checking import TicketError
from lion_ray.ticket.fingerprint import Agreement, fixed_images, measure, numeric_settings, verify
from lion_ray.ticket.format import (
    FORMAT,
    Header,
    Ticket,
    digest_of,
    metadata_of,
    pack,
    read_header,
    unpack,
)
from lion_ray.ticket.loading import load_ticket, model_of, open_ticket, precision_of
from lion_ray.ticket.serving import Export, export

__all__ = [
    "FORMAT", "Agreement", "Export", "Header", "Ticket", "TicketError", "digest_of", "export", "fixed_images",
    "load_ticket", "measure", "metadata_of", "model_of", "numeric_settings", "open_ticket", "pack", "precision_of",
    "read_header", "unpack", "verify",
]  # fmt: skip
