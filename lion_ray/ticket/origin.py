"""Where the weights of a ticket's backbone may be read from: no place is opened because a stranger's file names it.

`hub`, `package` and `random` are fixed places. Otherwise the copy counts that the study keeps in whose folder the
ticket lies, then what the header names if it lies where the study lies. All else is opened if the caller says so.
"""

from __future__ import annotations

import re

from lion_ray import backbones
from lion_ray.config import BackboneConfig
from lion_ray.store import Store, has_credentials, layout, redacted, size_of
from lion_ray.ticket.checking import TicketError
from lion_ray.ticket.format import Ticket

WORDS = ("hub", "package", "random")
STUDY = re.compile(r"(?P<study>.+)/experiments/[^/]+/round-\d+[^/]*/[^/]+")
DIGEST = re.compile(r"[0-9a-f]{64}")
REMEDY = "; say where they are with weights=... (--weights)"
COPIES, SPARE_BYTES = 8, 64 * 2**20  # a checkpoint may hold an optimizer's state and averages as well


def backbone_section(ticket: Ticket) -> BackboneConfig:
    """The header's, its weights where they may be read from.

    Raises:
        TicketError: they are at a place that the caller has to name, or not there.
    """
    config = BackboneConfig(**ticket.header.backbone)
    if config.weights in WORDS:
        return config
    place = _kept_by_the_study(ticket) or config.weights
    if place == config.weights and not _is_where_the_study_is(ticket.url, place):
        raise TicketError(
            f"it names '{redacted(place)}' as the place of its backbone's weights, which is opened only if you say so"
            f"{REMEDY}"
        )
    most = COPIES * backbones.num_bytes(config, source="the ticket") + SPARE_BYTES
    try:
        size = size_of(place)
    except OSError as error:
        raise TicketError(f"'{redacted(place)}' cannot be used: {error.strerror or error}{REMEDY}") from error
    if size is None or size > most:
        told = "does not say how large it is" if size is None else f"is {size:,} bytes long"
        raise TicketError(f"'{redacted(place)}' {told}, and weights of {config.name} take at most {most:,}")
    return config.model_copy(update={"weights": place})


def _kept_by_the_study(ticket: Ticket) -> str | None:
    """The file in the study's folder that holds the weights."""
    lies, digest = STUDY.fullmatch(ticket.url or ""), ticket.header.weights_digest
    if lies is None or not DIGEST.fullmatch(digest) or has_credentials(lies["study"]):
        return None
    store = Store(lies["study"])
    key = f"weights/{digest}"
    return f"{store.url}/{key}/{layout.WEIGHTS}" if store.read(f"{key}/{layout.DONE}") is not None else None


def _is_where_the_study_is(url: str | None, place: str) -> bool:
    """Whether both are on one host or in one bucket; of this machine's files, only if the ticket lies in a study."""
    if url is None or _origin(url) is None or _origin(url) != _origin(place):
        return False
    return _origin(url) != "file" or STUDY.fullmatch(url) is not None


def _origin(url: str) -> str | None:
    """Scheme and host or bucket; `file` for this machine; None for a chain of places."""
    scheme, separator, rest = url.partition("://")
    if "::" in url:
        return None
    if not separator or scheme.lower() in ("file", "local"):
        return "file"
    return f"{scheme.lower()}://{re.split(r'[/?#]', rest, maxsplit=1)[0].lower()}"
