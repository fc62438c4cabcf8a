"""Uploads while training goes on: in order, bounded, and done before the round is reported."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lion_ray.config import LotteryConfig
from lion_ray.lottery import Round, run_rounds
from lion_ray.store import BackgroundWriter, StorageError, Store
from tests.lottery.test_rounds import MemoryRounds, NoisyTrainer
from tests.support.small_runs import experiment, run


def test_work_is_done_in_the_background_in_order_and_one_at_a_time() -> None:
    writer, gate = BackgroundWriter(), threading.Event()
    done: list[int] = []

    def first() -> None:
        gate.wait(10)
        done.append(1)

    writer.submit(first)
    assert done == []
    threading.Timer(0.1, gate.set).start()
    writer.submit(lambda: done.append(2))  # waits for the first
    writer.flush()
    assert done == [1, 2]


@pytest.mark.parametrize("how", ["submit", "flush"])
def test_an_error_is_raised_at_the_next_call_and_once(how: str) -> None:
    writer = BackgroundWriter()
    writer.submit(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        writer.flush() if how == "flush" else writer.submit(lambda: None)
    writer.flush()


def test_a_ticket_goes_up_while_its_controls_train_and_is_there_before_the_round_is_told() -> None:
    events: list[str] = []

    class Noted(MemoryRounds):
        def commit(self, finished: Round) -> None:
            events.append(f"commit {finished.number} {finished.ticket}")
            super().commit(finished)

        def flush(self) -> None:
            events.append("flush")

    config = LotteryConfig(rounds=2, prune=0.5, controls=("reinit",))
    for finished in run_rounds(config, NoisyTrainer(), Noted()):
        events.append(f"told {finished.number}")
    assert events == [
        "commit 0 winning", "flush", "told 0", "commit 1 winning", "commit 1 reinit", "flush", "told 1",
    ]  # fmt: skip


def test_a_round_is_never_told_when_its_upload_failed(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Store.write

    def refuse(self: Store, path: str, payload: bytes) -> None:
        if path.endswith("round-1/result.json"):
            raise StorageError("no room")
        write(self, path, payload)

    monkeypatch.setattr(Store, "write", refuse)
    store, chosen = Store(str(tmp_path / "store")), experiment(study_file)
    with pytest.raises(StorageError, match="no room"):
        run(chosen, store)
    assert store.committed() == {chosen.key("start"), chosen.key("round-0")}
