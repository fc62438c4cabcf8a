"""One experiment against its store: committed rounds stay, everything else is made again to the bit."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lion_ray.store import DamagedArtifactWarning, Store
from tests.support.small_runs import artifacts, experiment, run


@pytest.fixture
def undisturbed(study_file: Path, tmp_path: Path) -> dict[str, bytes]:
    """The artifacts of a run that nothing interrupts."""
    store = Store(str(tmp_path / "undisturbed"))
    run(experiment(study_file), store)
    return artifacts(store)


def test_more_rounds_go_on_where_fewer_ended(study_file: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    store = Store(str(tmp_path / "store"))
    run(experiment(study_file, "lottery.rounds=1"), store)
    epochs: list[int] = []
    run(experiment(study_file), store, lambda training, _: epochs.append(training.round))
    assert epochs == [1, 1, 2, 2]
    assert artifacts(store) == undisturbed


def test_a_damaged_ticket_is_made_again(study_file: Path, tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    store, chosen = Store(str(tmp_path / "store")), experiment(study_file)
    run(chosen, store)
    store.write(f"{chosen.key('round-1')}/ticket.safetensors", b"cut")
    with pytest.warns(DamagedArtifactWarning):
        run(chosen, store)
    assert artifacts(store) == undisturbed


KILLED = """
import sys
from pathlib import Path
from lion_ray.store import Store
from tests.support.small_runs import experiment, run
import torch
torch.set_num_threads(int(sys.argv[3]))
run(experiment(Path(sys.argv[1]), *sys.argv[4:]), Store(sys.argv[2]), lambda *event: print("epoch", flush=True))
"""


LATE = ["lottery.rewind={epoch: 1}", "lottery.criterion=gradient_weight", "lottery.controls=[random_ticket]"]


@pytest.mark.parametrize("settings", [[], LATE, ["train.augment=randaugment"]], ids=["init", "late", "views"])
def test_a_kill_at_any_epoch_costs_the_unfinished_round_and_not_a_bit(
    study_file: Path, tmp_path: Path, settings: list[str]
) -> None:
    import torch

    store, whole = Store(str(tmp_path / "store")), Store(str(tmp_path / "whole"))
    chosen = experiment(study_file, *settings)
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-c", KILLED, str(study_file), store.url, threads, *settings]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent.parent.parent)
    assert process.stdout is not None
    for _ in range(3):  # two epochs are round 0; the third is in round 1
        assert process.stdout.readline() == "epoch\n"
    time.sleep(0.02)
    process.kill()
    process.wait()
    process.stdout.close()
    assert chosen.key("round-0") in store.committed()
    trained: list[int] = []
    run(chosen, store, lambda training, _: trained.append(training.round))
    assert trained in ([1, 1, 2, 2], [1, 2, 2], [2, 2])  # late: one epoch of the round, one of its control
    run(chosen, whole)
    assert artifacts(store) == artifacts(whole)
