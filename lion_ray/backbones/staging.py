"""A study's backbone, resolved once and kept in its store: no later run and no node asks the hub, package or URL again.

    backbone/<hash of the study's section>/resolved.json   which weights the section stood for, and their transform
    weights/<digest>/weights.safetensors                    the state dict in timm's names

each with a `DONE`. The driver calls `resolve` and, before anything is trained, `stage`; every process that trains calls
`load_staged`. Another `backbone` section is another record; deleting `backbone/` resolves anew.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import platform
import warnings
from functools import partial
from typing import Any

from safetensors.torch import save as save_safetensors

from lion_ray.backbones.checkpoints import State
from lion_ray.backbones.frozen import Backbone, assemble, blank, original, transform_of
from lion_ray.backbones.node import on_this_node
from lion_ray.backbones.transform import Transform
from lion_ray.backbones.weights import state_digest
from lion_ray.config import BackboneConfig, StudyError
from lion_ray.store import DamagedArtifactWarning, StorageError, Store, digest, layout, redacted
from lion_ray.store.layout import DONE, RESOLVED, WEIGHTS

SHARED = "several nodes need a URL as storage, or a folder that each mounts at the same path"
_loaded: dict[Resolved, Backbone] = {}  # at most one: trials that reuse a process share it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resolved:
    """What a study's section stands for. `state` holds the weights where they have just been read from their origin."""

    config: BackboneConfig
    weights_digest: str
    transform: Transform
    state: State | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """timm's."""
        return self.config.name

    @property
    def key(self) -> str:
        """Where the weights lie in the study's store."""
        return layout.staged(self.weights_digest)


def resolve(config: BackboneConfig, store: Store, *, source: str = "study") -> Resolved:
    """What the store says that the section stands for; where it says nothing, what its origin has now.

    Raises:
        StudyError: unknown timm name, or weights that are not there or do not fit.
    """
    kept = store.load(_record_key(config))
    if kept is None:
        return _from_origin(config, source)
    try:
        return _parsed(config, kept[RESOLVED])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as damage:
        text = f"{store.url}/{_record_key(config)} counts as absent: {damage!r}"
        warnings.warn(text, DamagedArtifactWarning, stacklevel=2)
        return _from_origin(config, source)


def _parsed(config: BackboneConfig, record: bytes) -> Resolved:
    """What `stage` has written."""
    fields = json.loads(record)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields["transform"].items()
    }
    return Resolved(config=config, weights_digest=fields["weights"], transform=Transform(**values))


def stage(resolved: Resolved, store: Store, *, source: str = "study") -> Resolved:
    """Make sure that the store holds the weights unharmed; returns `resolved` without them.

    Raises:
        StudyError: they were damaged, and their origin has others by now.
    """
    if store.load(resolved.key) is None:  # it warns of damage
        state = resolved.state or _same_from_origin(resolved, store, source)
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        store.commit(resolved.key, {WEIGHTS: save_safetensors(tensors)})
    if resolved.state is not None:
        section = {"weights": redacted(resolved.config.weights)}
        record = {
            "section": {**resolved.config.model_dump(mode="json"), **section},
            "weights": resolved.weights_digest,
            "transform": dataclasses.asdict(resolved.transform),
        }
        store.commit(_record_key(resolved.config), {RESOLVED: json.dumps(record, sort_keys=True, indent=1).encode()})
    return dataclasses.replace(resolved, state=None)


def marker(resolved: Resolved) -> str:
    """The file in the study's store that says that its weights are staged."""
    return f"{resolved.key}/{DONE}"


def load_staged(resolved: Resolved, store: Store) -> Backbone:
    """The frozen backbone from the store, by way of this node's copy; the same bits as `load` of its origin.

    Raises:
        StorageError: the weights in the store are gone or damaged, and the driver's next start makes them again; or the
            store is a folder that this node does not see, whatever it holds a copy of.
    """
    _make_sure_that_it_is_seen(resolved, store)
    if resolved not in _loaded:
        state = on_this_node(resolved.weights_digest, partial(_fetched, resolved, store))
        model = blank(resolved.config)
        model.load_state_dict(state, strict=True)
        _loaded.clear()
        _loaded[resolved] = assemble(model, resolved.name, resolved.transform, resolved.weights_digest)
    return _loaded[resolved]


def _make_sure_that_it_is_seen(resolved: Resolved, store: Store) -> None:
    """Results written to a folder of the same name on another machine would be lost."""
    if store.is_local and store.read(marker(resolved)) is None:
        gone = "holds no staged weights: they were deleted, or this node does not see the folder of the driver; "
        raise StorageError(errno.ENOENT, f"{platform.node()} {gone}{SHARED}", f"{store.url}/{resolved.key}")


def _fetched(resolved: Resolved, store: Store) -> bytes:
    files = store.load(resolved.key)
    if files is None:
        where = f"{store.url}/{resolved.key}"
        raise StorageError(errno.EIO, "the staged weights are gone or damaged, run the same command again", where)
    return files[WEIGHTS]


def _from_origin(config: BackboneConfig, source: str) -> Resolved:
    model = original(config, source=source)
    state = model.state_dict()
    return Resolved(
        config=config, weights_digest=state_digest(state), transform=transform_of(model, config), state=state
    )


def _same_from_origin(resolved: Resolved, store: Store, source: str) -> State:
    found = _from_origin(resolved.config, source)
    if found.weights_digest != resolved.weights_digest or found.state is None:
        has, had = found.weights_digest[:8], resolved.weights_digest[:8]
        reason = f"now holds other weights ({has}) than those that the study began with ({had}), and their copy is lost"
        remedy = f"delete {store.url}/backbone to begin anew with these"
        raise StudyError(source, "backbone.weights", f"'{redacted(resolved.config.weights)}' {reason}; {remedy}")
    return found.state


def _record_key(config: BackboneConfig) -> str:
    section = {**config.model_dump(mode="json"), "weights": redacted(config.weights)}
    return layout.backbone(digest(json.dumps(section, sort_keys=True).encode())[:16])
