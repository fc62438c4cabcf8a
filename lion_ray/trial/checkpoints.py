"""An unfinished round in the store, epoch by epoch, so that a kill costs one epoch and not a round.

`partial.safetensors` lies where the round's files will, is written in one piece with a digest of its own, and goes when
the round has its `DONE`. `stored_rounds` makes one per round that is trained; `training` reads and writes it.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lion_ray.lottery import EpochRecord, Mask, RoundCheckpoint, TrainState
from lion_ray.store import DONE, DamagedArtifactWarning, Store
from lion_ray.ticket import digest_of, metadata_of
from lion_ray.training.workers import Workers

FILE = "partial.safetensors"
PAUSE_SECONDS = 5.0  # shorter epochs than this are cheaper to train again than to write


class StoreCheckpointer:
    """The checkpointer of one round (`lottery.Checkpointer`); worker 0 alone touches the store.

    Args:
        key: where the round's files will lie.
        mask: the round's; checkpoints that were taken under another one do not count.
    """

    def __init__(self, store: Store, key: str, mask: Mask, workers: Workers, pause: float = PAUSE_SECONDS) -> None:
        self._store, self._path, self._workers, self._pause = store, f"{key}/{FILE}", workers, pause
        self._mask = digest_of({}, {name: entry.cpu() for name, entry in mask.alive.items()})
        self._since = time.monotonic()

    def load(self) -> RoundCheckpoint | None:
        """What was saved last; None, with a warning, if it is damaged."""
        return self._workers.on_rank_zero(self._load)

    def save(self, partial: RoundCheckpoint) -> None:
        """Replace what was saved before, unless that is only seconds old."""
        self._workers.on_rank_zero(lambda: self._save(partial))

    def _load(self) -> RoundCheckpoint | None:
        payload = self._store.read(self._path)
        if payload is None:
            return None
        try:
            tensors = load_safetensors(payload)
            fields = json.loads(metadata_of(payload)["lion_ray"])
            if digest_of({**fields, "digest": ""}, tensors) != fields["digest"]:
                raise ValueError("it does not match its digest")
            return _partial(fields, tensors) if fields["mask"] == self._mask else None
        except (SafetensorError, ValueError, KeyError, TypeError) as damage:
            where = f"{self._store.url}/{self._path}"
            warnings.warn(f"{where} counts as absent: {damage}", DamagedArtifactWarning, stacklevel=2)
            return None

    def _save(self, partial: RoundCheckpoint) -> None:
        if time.monotonic() - self._since < self._pause:
            return
        self._since = time.monotonic()
        states = {"point": partial.state, **({"kept": partial.kept} if partial.kept else {})}
        tensors = {f"{name}/{key}": tensor for name, state in states.items() for key, tensor in _flat(state).items()}
        epochs = {name: state.epoch for name, state in states.items()}
        fields = {
            "epochs": epochs,
            "history": [record._asdict() for record in partial.history],
            "mask": self._mask,
            "digest": "",
        }
        fields = {**fields, "digest": digest_of(fields, tensors)}
        self._store.write(self._path, save_safetensors(tensors, metadata={"lion_ray": json.dumps(fields)}))


def remove_leftovers(store: Store) -> None:
    """Take away checkpoints beside a `DONE`: a driver or trial was killed between the two."""
    paths = set(store.paths())
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name == FILE and f"{folder}/{DONE}" in paths:
            store.remove(path)


def _flat(state: TrainState) -> dict[str, Tensor]:
    weights = {f"weights/{name}": tensor.contiguous() for name, tensor in state.weights.items()}
    return weights | {f"optimizer/{name}": tensor.contiguous() for name, tensor in state.optimizer.items()}


def _partial(fields: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> RoundCheckpoint:
    states = {name: _state(f"{name}/", epoch, tensors) for name, epoch in fields["epochs"].items()}
    history = tuple(EpochRecord.from_json(record) for record in fields["history"])
    return RoundCheckpoint(state=states["point"], history=history, kept=states.get("kept"))


def _state(prefix: str, epoch: int, tensors: Mapping[str, Tensor]) -> TrainState:
    own = {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    parts = {
        kind: {name[len(kind) + 1 :]: tensor for name, tensor in own.items() if name.startswith(f"{kind}/")}
        for kind in ("weights", "optimizer")
    }
    return TrainState(weights=parts["weights"], optimizer=parts["optimizer"], epoch=epoch)
