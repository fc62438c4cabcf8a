"""Weights on this node's disk: fetched from the store once per node, whoever of its processes comes first.

`staging` asks. A file is believed by its weights' digest at every use and only; the lock is the kernel's, so one whose
process was killed is free. What nobody has used for a week goes when something new comes.
"""

from __future__ import annotations

import fcntl
import os
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from lion_ray.backbones.checkpoints import State
from lion_ray.backbones.weights import state_digest
from lion_ray.store.local import node_folder, own_node_folder

KEPT_SECONDS = 7 * 24 * 3600.0


def on_this_node(digest: str, fetch: Callable[[], bytes]) -> State:
    """The weights called `digest`, from this node's copy; `fetch()` makes one if there is none or it is damaged.

    Raises:
        ValueError: what was fetched are other weights.
    """
    path = node_folder("weights") / f"{digest}.safetensors"
    try:
        lock = _locked()
    except OSError as error:
        warnings.warn(f"{path.parent} cannot be used, so each process fetches weights itself: {error}", stacklevel=2)
        return parsed(fetch(), digest)
    try:
        state = _kept(path, digest)
        if state is None:
            payload = fetch()
            state = parsed(payload, digest)
            _keep(path, payload)
        return state
    finally:
        os.close(lock)


def parsed(payload: bytes, digest: str) -> State:
    """The weights in a safetensors file.

    Raises:
        ValueError: it is damaged, or holds other weights than those called `digest`.
    """
    try:
        state = dict(load_safetensors(payload))
    except SafetensorError as error:
        raise ValueError(f"no safetensors file: {error}") from error
    if state_digest(state) != digest:
        raise ValueError("the weights do not match their digest")
    return state


def _locked() -> int:
    """The folder, opened: one process of this node at a time, until it closes it.

    Raises:
        OSError: it cannot be made, or belongs to somebody else.
    """
    with suppress(FileNotFoundError):  # what cleans a machine's temporary files may take it away meanwhile
        return _opened()
    return _opened()


def _opened() -> int:
    descriptor = os.open(own_node_folder("weights"), os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def _kept(path: Path, digest: str) -> State | None:
    try:
        state = parsed(path.read_bytes(), digest)
        os.utime(path)
    except (OSError, ValueError):
        return None
    return state


def _keep(path: Path, payload: bytes) -> None:
    """A disk without room for it costs a download per process and nothing else. Called under the lock."""
    part = path.with_suffix(".part")
    with suppress(OSError):
        for other in path.parent.iterdir():  # a part here was left by a process that is dead
            if other.suffix == ".part" or time.time() - other.stat().st_mtime > KEPT_SECONDS:
                other.unlink()
    try:
        part.write_bytes(payload)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
