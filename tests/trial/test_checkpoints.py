"""An unfinished round in the store: a kill costs an epoch, the bits stay the same, and nothing is left of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lion_ray.experiments import Experiment
from lion_ray.lottery import EpochRecord
from lion_ray.store import DamagedArtifactWarning, Store
from lion_ray.store.layout import CHECKPOINT
from lion_ray.trial import checkpoints
from lion_ray.trial.trainer import EpochContext
from tests.support.small_runs import artifacts, experiment, run

ROBUST = "train.robust={tau: 0.5, shrinkage: 1.0}"
LATE = ["lottery.rewind={epoch: 1}", "lottery.criterion=gradient_weight", "lottery.controls=[reinit]"]


class Killed(Exception):
    """The process is gone."""


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs of milliseconds are written down too."""
    monkeypatch.setattr(checkpoints.StoreCheckpointer.__init__, "__defaults__", (0.0,))


def run_until(chosen: Experiment, store: Store, kill: int) -> list[tuple[int, int]]:
    """Run until the `kill`-th epoch has just been reported; the epochs, as (round, epoch)."""
    seen: list[tuple[int, int]] = []

    def on_epoch(training: EpochContext, record: EpochRecord) -> None:
        seen.append((training.round, record.epoch))
        if len(seen) == kill:
            raise Killed

    with pytest.raises(Killed):
        run(chosen, store, on_epoch)
    return seen


def rest(chosen: Experiment, store: Store) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    run(chosen, store, lambda training, record: seen.append((training.round, record.epoch)))
    return seen


def partials(store: Store) -> Iterator[str]:
    return (path for path in store.paths() if path.endswith(CHECKPOINT))


@pytest.mark.parametrize("settings", [[], [ROBUST], LATE, ["lottery.rewind=none", "train.schedule=constant"]])
def test_a_kill_costs_one_epoch_and_not_a_bit(study_file: Path, tmp_path: Path, settings: list[str]) -> None:
    chosen = experiment(study_file, "train.epochs=4", "lottery.rounds=2", *settings)
    whole, killed = Store(str(tmp_path / "whole")), Store(str(tmp_path / "killed"))
    expected = rest(chosen, whole)
    seen: list[tuple[int, int]] = []
    for kill in range(3):
        seen += run_until(chosen, killed, 3)  # two epochs are kept, the third was just going to be
        assert kill or len(list(partials(killed))) == 1
    seen += rest(chosen, killed)
    assert artifacts(killed) == artifacts(whole)
    assert not list(partials(killed))
    assert len(seen) - len(expected) == 3  # one epoch for each kill
    assert sorted(set(seen)) == sorted(set(expected))


@pytest.mark.parametrize("damage", [lambda payload: payload[:-9], lambda payload: payload[:-1] + b"\x00\x01"[:1]])
def test_damaged_notes_count_as_absent_and_are_said(study_file: Path, tmp_path: Path, damage: Any) -> None:
    chosen = experiment(study_file, "train.epochs=3", "lottery.rounds=1")
    whole, store = Store(str(tmp_path / "whole")), Store(str(tmp_path / "store"))
    run(chosen, whole)
    run_until(chosen, store, 2)
    (path,) = partials(store)
    payload = store.read(path)
    assert payload is not None
    store.write(path, damage(bytes([*payload[:-1], payload[-1] ^ 1])))
    with pytest.warns(DamagedArtifactWarning, match="counts as absent"):
        run(chosen, store)
    assert artifacts(store) == artifacts(whole)


def test_notes_that_a_kill_left_beside_a_finished_round_are_taken_away(study_file: Path, tmp_path: Path) -> None:
    chosen, store = experiment(study_file, "train.epochs=3", "lottery.rounds=2"), Store(str(tmp_path))
    run_until(chosen, store, 5)
    (unfinished,) = partials(store)
    store.write(f"{chosen.key('round-0')}/{CHECKPOINT}", b"left over")
    checkpoints.remove_leftovers(store)
    assert list(partials(store)) == [unfinished]


def test_epochs_of_seconds_are_not_written_down(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints.StoreCheckpointer.__init__, "__defaults__", (checkpoints.PAUSE_SECONDS,))
    store = Store(str(tmp_path))
    run_until(experiment(study_file, "lottery.rounds=1"), store, 2)
    assert not list(partials(store))
