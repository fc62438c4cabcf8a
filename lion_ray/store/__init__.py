"""Artifacts under one root URL. This is the only package that imports fsspec.

An artifact is a set of files that is committed under a key. The files are written first and the marker `DONE` last; it
lists the SHA-256 and the size of every file. An artifact exists if its `DONE` can be read and all digests hold;
otherwise the work behind it is done again. Transient faults of the storage are retried (`lion_ray.store.patience`), and
every other fault is raised as a `StorageError`. `lion_ray.data` and `lion_ray.backbones` read the URLs of users with
`open_url`.
"""

from lion_ray.store.artifacts import DamagedArtifactWarning, Store, digest, map_in_threads
from lion_ray.store.background import BackgroundWriter
from lion_ray.store.faults import StorageError
from lion_ray.store.layout import DONE
from lion_ray.store.lease import Lease, current_driver, remove_dead_lease
from lion_ray.store.patience import OnOutage, Outage, Patience
from lion_ray.store.places import canonical, identity, is_local
from lion_ray.store.redaction import has_credentials, redacted
from lion_ray.store.urls import (
    ListedFile,
    digest_url,
    find_files,
    find_listed_files,
    open_url,
    read_range,
    read_up_to,
    read_url,
    size_of,
    write_url,
)

__all__ = [
    "DONE",
    "BackgroundWriter",
    "DamagedArtifactWarning",
    "Lease",
    "ListedFile",
    "OnOutage",
    "Outage",
    "Patience",
    "StorageError",
    "Store",
    "canonical",
    "current_driver",
    "digest",
    "digest_url",
    "find_files",
    "find_listed_files",
    "has_credentials",
    "identity",
    "is_local",
    "map_in_threads",
    "open_url",
    "read_range",
    "read_up_to",
    "read_url",
    "redacted",
    "remove_dead_lease",
    "size_of",
    "write_url",
]
