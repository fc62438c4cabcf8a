"""Tickets: the small files that are shipped. A ticket and its backbone together make the model of one finished round.

`format` packs and unpacks the file, `checking` refuses one that its method cannot have written, `loading` and `origin`
make a model of it, `fingerprint` compares the model's logits with the stored ones, `prediction` classifies images, and
`compact` and `serving` write smaller and exported forms. `lion_ray.trial` writes tickets; `lion_ray.cli` reads them.
"""

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
