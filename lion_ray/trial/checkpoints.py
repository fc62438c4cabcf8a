"""Checkpoints of an unfinished round in the store, so that a killed process loses one epoch instead of a round.

The file `partial.safetensors` lies in the folder of the round. It is written atomically with a digest of its own, and
it is removed after the round has its `DONE`. `lion_ray.trial.stored_rounds` makes a `StoreCheckpointer` for each round
that is trained, and `lion_ray.training.loop` calls it.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from lion_ray.lottery import EpochRecord, Mask, RoundCheckpoint, TrainState
from lion_ray.lottery.records import StoredFields
from lion_ray.store import DamagedArtifactWarning, Store
from lion_ray.store.layout import CHECKPOINT, DONE
from lion_ray.ticket import digest_of, metadata_of
from lion_ray.training.workers import Workers

PAUSE_SECONDS = 5.0  # an epoch shorter than this is cheaper to train again than to save


class StoreCheckpointer:
    """The checkpointer of one round (`lottery.Checkpointer`). Only rank 0 reads and writes the store.

    Args:
        store: the store of the study.
        key: the key of the round's artifact.
        mask: the mask of the round; a checkpoint under another mask does not count.
        workers: the workers that train the round.
        pause: the least number of seconds between two checkpoints.
    """

    def __init__(self, store: Store, key: str, mask: Mask, workers: Workers, pause: float = PAUSE_SECONDS) -> None:
        self._store, self._path, self._workers, self._pause = store, f"{key}/{CHECKPOINT}", workers, pause
        self._mask = digest_of({}, {name: entry.cpu() for name, entry in mask.alive.items()})
        self._since = time.monotonic()

    def load(self) -> RoundCheckpoint | None:
        """The last checkpoint; None if there is none or, with a warning, if it is damaged."""
        return self._workers.on_rank_zero(self._load)

    def save(self, checkpoint: RoundCheckpoint) -> None:
        """Replace the last checkpoint, unless it is younger than `pause` seconds."""
        self._workers.on_rank_zero(lambda: self._save(checkpoint))

    def _load(self) -> RoundCheckpoint | None:
        payload = self._store.read(self._path)
        if payload is None:
            return None
        try:
            tensors = load_safetensors(payload)
            fields = json.loads(metadata_of(payload)["lion_ray"])
            if digest_of({**fields, "digest": ""}, tensors) != fields["digest"]:
                raise ValueError("it does not match its digest")
            return _unpacked(fields, tensors) if fields["mask"] == self._mask else None
        except (SafetensorError, ValueError, KeyError, TypeError) as damage:
            where = f"{self._store.url}/{self._path}"
            warnings.warn(f"{where} counts as absent: {damage}", DamagedArtifactWarning, stacklevel=2)
            return None

    def _save(self, checkpoint: RoundCheckpoint) -> None:
        if time.monotonic() - self._since < self._pause:
            return
        self._since = time.monotonic()
        states = {"point": checkpoint.state, **({"kept": checkpoint.kept} if checkpoint.kept else {})}
        tensors = {f"{name}/{key}": tensor for name, state in states.items() for key, tensor in _flat(state).items()}
        epochs = {name: state.epoch for name, state in states.items()}
        fields = {
            "epochs": epochs,
            "history": [record._asdict() for record in checkpoint.history],
            "mask": self._mask,
            "digest": "",
        }
        fields = {**fields, "digest": digest_of(fields, tensors)}
        self._store.write(self._path, save_safetensors(tensors, metadata={"lion_ray": json.dumps(fields)}))


def remove_leftovers(store: Store) -> None:
    """Remove checkpoints beside a `DONE`. They remain if a process is killed before it removes them."""
    paths = set(store.paths())
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name == CHECKPOINT and f"{folder}/{DONE}" in paths:
            store.remove(path)


def _flat(state: TrainState) -> dict[str, Tensor]:
    weights = {f"weights/{name}": tensor.contiguous() for name, tensor in state.weights.items()}
    return weights | {f"optimizer/{name}": tensor.contiguous() for name, tensor in state.optimizer.items()}


def _unpacked(fields: StoredFields, tensors: Mapping[str, Tensor]) -> RoundCheckpoint:
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
