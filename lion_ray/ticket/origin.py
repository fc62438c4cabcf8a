"""The place of a ticket's backbone weights. A place is not opened just because a stranger's file names it.

`hub`, `package` and `random` are always allowed. Otherwise the weights are read from the copy in the study's folder, if
the ticket lies in one, or from the place that the header names, if it is on the same host or in the same bucket as the
ticket. Any other place has to be named by the caller. `lion_ray.ticket.loading.model_of` calls `backbone_section`.
"""

from __future__ import annotations

import re

from lion_ray import backbones
from lion_ray.config import BackboneConfig
from lion_ray.store import Store, has_credentials, layout, redacted, size_of
from lion_ray.ticket.checking import TicketError
from lion_ray.ticket.format import Ticket

FIXED_PLACES = ("hub", "package", "random")
STUDY = re.compile(r"(?P<study>.+)/experiments/[^/]+/round-\d+[^/]*/[^/]+")
DIGEST = re.compile(r"[0-9a-f]{64}")
REMEDY = "; say where they are with weights=... (--weights)"
COPIES, SPARE_BYTES = 8, 64 * 2**20  # a checkpoint may also hold an optimizer's state and averaged weights


def backbone_section(ticket: Ticket) -> BackboneConfig:
    """The header's `backbone` section, with `weights` at a place that may be read.

    Raises:
        TicketError: the caller has to name the place, or there are no weights of a plausible size.
    """
    config = BackboneConfig.model_validate(ticket.header.backbone)
    if config.weights in FIXED_PLACES:
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
        reason = "does not say how large it is" if size is None else f"is {size:,} bytes long"
        raise TicketError(f"'{redacted(place)}' {reason}, and weights of {config.name} take at most {most:,}")
    return config.model_copy(update={"weights": place})


def _kept_by_the_study(ticket: Ticket) -> str | None:
    """The URL of the copy of the weights in the study's folder; None if the ticket lies in none, or it has no copy."""
    match, digest = STUDY.fullmatch(ticket.url or ""), ticket.header.weights_digest
    if match is None or not DIGEST.fullmatch(digest) or has_credentials(match["study"]):
        return None
    store = Store(match["study"])
    key = layout.staged(digest)
    return f"{store.url}/{key}/{layout.WEIGHTS}" if store.read(f"{key}/{layout.DONE}") is not None else None


def _is_where_the_study_is(url: str | None, place: str) -> bool:
    """Whether the ticket's `url` and `place` are on one host or in one bucket.

    Two local files count as the same host only if the ticket lies in a study's folder.
    """
    if url is None or _origin(url) is None or _origin(url) != _origin(place):
        return False
    return _origin(url) != "file" or STUDY.fullmatch(url) is not None


def _origin(url: str) -> str | None:
    """The scheme with the host or the bucket; `file` for a local path; None for a chained fsspec URL."""
    scheme, separator, rest = url.partition("://")
    if "::" in url:
        return None
    if not separator or scheme.lower() in ("file", "local"):
        return "file"
    return f"{scheme.lower()}://{re.split(r'[/?#]', rest, maxsplit=1)[0].lower()}"
