"""Artifacts under one root URL, and the only door to fsspec.

A stage commits its files under a key: payload first, then `DONE`, which lists every file's SHA-256 and size. What
carries a readable `DONE` whose digests hold exists; everything else is to be done again. Faults that pass are waited
out (`patience`), the others end the run as one `StorageError`. `data` and `backbones` read users' URLs with `open_url`.
"""

from lion_ray.store.artifacts import DamagedArtifactWarning, Store, digest, side_by_side
from lion_ray.store.behind import Behind
from lion_ray.store.faults import StorageError
from lion_ray.store.layout import DONE
from lion_ray.store.lease import Lease, forget_dead, holder
from lion_ray.store.patience import OnOutage, Outage, Patience
from lion_ray.store.places import canonical, identity, is_local
from lion_ray.store.redaction import has_credentials, redacted
from lion_ray.store.urls import (
    Listed,
    digest_url,
    find_files,
    find_listed,
    open_url,
    read_range,
    read_up_to,
    read_url,
    size_of,
    write_url,
)

__all__ = [
    "DONE",
    "Behind",
    "DamagedArtifactWarning",
    "Lease",
    "Listed",
    "OnOutage",
    "Outage",
    "Patience",
    "StorageError",
    "Store",
    "canonical",
    "digest",
    "digest_url",
    "find_files",
    "find_listed",
    "forget_dead",
    "has_credentials",
    "holder",
    "identity",
    "is_local",
    "open_url",
    "read_range",
    "read_up_to",
    "read_url",
    "redacted",
    "side_by_side",
    "size_of",
    "write_url",
]
