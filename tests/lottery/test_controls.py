"""Controls: what a winning ticket is compared with, and that nothing else notices them."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch

from lion_ray import backbones, pipeline
from lion_ray.config import LotteryConfig
from lion_ray.experiments import Experiment
from lion_ray.lottery import Round, run_rounds
from lion_ray.store import DamagedArtifactWarning, Store
from lion_ray.study.plan import make_plan
from lion_ray.training.workers import SingleWorker
from lion_ray.trial.stored_rounds import StoredRounds
from tests.end_to_end.test_study import table
from tests.lottery.test_rounds import MemoryRounds, NoisyTrainer
from tests.support.small_runs import artifacts, experiment, run

CONTROLS = "lottery.controls=[random_ticket, reinit]"


def kept(chosen: Experiment, store: Store, number: int, ticket: str = "winning") -> Round:
    backbone = backbones.load(chosen.backbone)
    found = StoredRounds(chosen, store, backbone=backbone, workers=SingleWorker(), classes=()).load(number, ticket)
    assert found is not None
    return found


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def test_controls_stand_beside_the_rounds_and_change_neither_their_bits_nor_their_name(
    study_file: Path, tmp_path: Path, store: Store
) -> None:
    alone = Store(str(tmp_path / "alone"))
    chosen = experiment(study_file, CONTROLS)
    assert chosen.name == experiment(study_file).name
    run(experiment(study_file), alone)
    run(chosen, store)
    with_controls, without = artifacts(store), artifacts(alone)
    assert {key: with_controls[key] for key in without} == without
    added = {key.split("/")[2] for key in with_controls.keys() - without.keys()}
    assert added == {f"round-{number}-{control}" for number, control in product((1, 2), ("random_ticket", "reinit"))}
    for number in (1, 2):
        winning, drawn = kept(chosen, store, number), kept(chosen, store, number, "random_ticket")
        fresh = kept(chosen, store, number, "reinit")
        assert fresh.mask.equals(winning.mask)
        assert not drawn.mask.equals(winning.mask)
        for name, entry in winning.mask.alive.items():
            assert int(drawn.mask.alive[name].sum()) == int(entry.sum()), name
        for each in (drawn, fresh):
            assert all(not bool(each.weights[name][~entry].any()) for name, entry in each.mask.alive.items())


def test_a_random_ticket_shares_the_start_and_reinit_does_not() -> None:
    trainer = NoisyTrainer()
    list(run_rounds(LotteryConfig(rounds=3, prune=0.5, controls=("random_ticket", "reinit")), trainer, MemoryRounds()))
    assert sorted(trainer.branches) == sorted(product((1, 2), ("random_ticket", "reinit")))
    for (_, control), (point, mask) in trainer.branches.items():
        start = mask.applied(trainer.start())
        assert all(torch.equal(point.weights[name], start[name]) for name in start) == (control == "random_ticket")
    masks = [trainer.branches[number, "random_ticket"][1] for number in (1, 2)]
    assert not masks[1].is_within(masks[0])  # each is drawn anew


def test_controls_never_stop_the_lottery() -> None:
    config = LotteryConfig(
        rounds=4, tolerance=0.05, controls=("random_ticket", "reinit")
    )  # the controls' accuracy is 0
    assert len(list(run_rounds(config, NoisyTrainer(), MemoryRounds()))) == 4


def test_controls_that_are_asked_for_later_or_damaged_are_all_that_is_trained(study_file: Path, store: Store) -> None:
    run(experiment(study_file), store)
    chosen = experiment(study_file, CONTROLS)
    assert make_plan([chosen], store).pending == [chosen]
    trained: list[tuple[int, str]] = []
    run(chosen, store, lambda training, _: trained.append((training.round, training.ticket)))
    assert sorted(set(trained)) == sorted(product((1, 2), ("random_ticket", "reinit")))
    assert not make_plan([chosen], store).pending
    whole = artifacts(store)
    store.write(f"{chosen.key('round-1-reinit')}/ticket.safetensors", b"cut")
    trained.clear()
    with pytest.warns(DamagedArtifactWarning):
        run(chosen, store, lambda training, _: trained.append((training.round, training.ticket)))
    assert set(trained) == {(1, "reinit")}
    assert artifacts(store) == whole


@pytest.mark.usefixtures("embedded_ray")
def test_tables_name_the_ticket_and_the_entry(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = "[{name: lion, label: plain, lottery: {controls: [reinit]}}, {name: lion, train: {epochs: 1}}]"
    overrides = [f"methods={methods}", "lottery.rounds=2"]
    assert pipeline.main([str(study_file), *(part for each in overrides for part in ("--set", each))]) == 0
    rows = [(row["method"], row["round"], row["ticket"]) for row in table(tmp_path / "results", "tiny")]
    other = "lion[train={epochs=1}]"
    expected = [("plain", 0, "winning"), ("plain", 1, "winning"), ("plain", 1, "reinit")]
    assert rows == [*expected, (other, 0, "winning"), (other, 1, "winning")]
    printed = capsys.readouterr().out
    assert "round 1/1 reinit  epoch 2/2" in printed
    assert printed.count("2/2 done") == 1
