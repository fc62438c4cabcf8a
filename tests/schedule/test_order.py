"""Whose turn it is, who goes on, who is stopped: without Ray, and the same after every kill of the driver."""

from __future__ import annotations

import itertools
import random
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from lion_ray.config import BudgetConfig, SchedulerConfig
from lion_ray.store import DamagedArtifactWarning, Store
from lion_ray.study.decisions import Decision, Decisions, Stop
from tests.support.made_sweeps import Sweep, experiment

DATASETS = ("mnist", "textile", "emoji")
NAMES = ("lottery", "asha", "hyperband", "median", "none")


def scattered(name: str, number: int) -> float:
    """An accuracy for every experiment and round, no two alike."""
    return random.Random(f"{name}/{number}").random()


def sweep(folder: Path, scheduler: SchedulerConfig, *, each: int = 5, concurrency: int = 1, **lottery: Any) -> Sweep:
    """`each` experiments on each of three datasets, five rounds each unless told otherwise."""
    experiments = [experiment(f"{dataset}-{k}", dataset, **lottery) for k in range(each) for dataset in DATASETS]
    return Sweep(experiments, scheduler, scattered, folder, concurrency)


def test_early_rounds_of_every_experiment_come_before_late_rounds_of_one(tmp_path: Path) -> None:
    done = sweep(tmp_path, SchedulerConfig(name="none"), each=2)
    done.run()
    numbers = [number for _, number in done.trained]
    assert numbers == sorted(numbers)
    assert len(numbers) == 6 * 5
    assert {name for name, number in done.trained if number == 0} == {each.name for each in done.experiments}


def test_the_study_of_a_sweep_that_is_resumed_starts_with_those_behind(tmp_path: Path) -> None:
    done = sweep(tmp_path, SchedulerConfig(name="none"), each=1)
    done.rounds = {"mnist-0": [0.5, 0.5, 0.5], "emoji-0": [0.5]}
    done.run()
    assert done.trained[:4] == [("textile-0", 0), ("textile-0", 1), ("emoji-0", 1), ("textile-0", 2)]


@pytest.mark.parametrize(("workers", "per_turn", "switches"), [(1, None, 14), (2, None, 2), (2, 2, 8), (1, 5, 2)])
def test_a_turn_lasts_one_round_or_with_workers_all_or_as_long_as_the_study_says(
    tmp_path: Path, workers: int, per_turn: int | None, switches: int
) -> None:
    done = sweep(tmp_path, SchedulerConfig(name="none", rounds_per_turn=per_turn), each=1)
    done.workers = workers
    done.run()
    names = [name for name, _ in done.trained]
    changes = sum(one != other for one, other in itertools.pairwise(names))
    assert changes == switches


def test_the_lottery_stops_each_experiment_by_its_own_round_0(tmp_path: Path) -> None:
    curves = {"mnist-0": [0.9, 0.88, 0.7, 0.6, 0.5], "textile-0": [0.3, 0.29, 0.3, 0.3, 0.3], "emoji-0": [0.5] * 5}
    done = sweep(tmp_path, SchedulerConfig(), each=1, tolerance=0.05, patience=2)
    done.accuracy = lambda name, number: curves[name][number]
    done.run()
    assert {name: len(values) for name, values in done.rounds.items()} == {"mnist-0": 4, "textile-0": 5, "emoji-0": 5}
    assert done.stops == {"mnist-0": Stop(round=3, by="lottery")}
    assert done.plan().pending == []


def test_experiments_of_different_datasets_never_compete(tmp_path: Path) -> None:
    done = sweep(tmp_path, SchedulerConfig(name="asha"), each=4)
    done.accuracy = lambda name, number: {"mnist": 0.9, "textile": 0.5, "emoji": 0.1}[name.split("-")[0]]
    done.run()
    assert not done.stops  # equal within each dataset
    assert len(done.trained) == 12 * 5


@pytest.mark.parametrize("name", ["asha", "hyperband", "median"])
def test_tunes_schedulers_stop_the_worst_of_a_dataset_and_keep_its_best(tmp_path: Path, name: str) -> None:
    done = sweep(tmp_path, SchedulerConfig(name=name), each=7)  # type: ignore[arg-type]
    done.accuracy = lambda name, number: 1 - int(name.split("-")[1]) / 10  # 0 is the best and starts first
    done.run()
    assert done.stops
    for dataset in DATASETS:
        assert len(done.rounds[f"{dataset}-0"]) == 5
        assert f"{dataset}-{4 if name == 'hyperband' else 6}" in done.stops  # hyperband's second bracket is 2, 3, 4
    assert {stop.by for stop in done.stops.values()} == {name}


@pytest.mark.parametrize("name", NAMES)
def test_a_sweep_that_is_killed_and_resumed_decides_as_if_nothing_had_happened(tmp_path: Path, name: str) -> None:
    settings: dict[str, Any] = {"tolerance": 0.2} if name == "lottery" else {}
    scheduler = SchedulerConfig(name=name)  # type: ignore[arg-type]
    whole = sweep(tmp_path / "whole", scheduler, **settings).run()
    killed = sweep(tmp_path / "killed", scheduler, **settings)
    while killed.plan().pending:
        killed.run(kill_after=len(killed.trained) + 3)
    assert killed.trained == whole.trained  # no round twice, and the same order
    assert killed.decisions().stops(e.peers for e in killed.experiments) == whole.decisions().stops(
        e.peers for e in whole.experiments
    )
    assert bool(whole.stops) == (name != "none")


@pytest.mark.parametrize("name", NAMES)
@hypothesis.given(
    seed=st.integers(0, 10**6), concurrency=st.integers(1, 6), kills=st.lists(st.integers(1, 9), max_size=4)
)
@hypothesis.settings(max_examples=15, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_every_sweep_ends_whatever_is_killed_and_stops_stay_stops(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, concurrency: int, kills: list[int]
) -> None:
    settings: dict[str, Any] = {"tolerance": 0.1} if name == "lottery" else {}
    draw = random.Random(seed)
    done = sweep(tmp_path_factory.mktemp("sweep"), SchedulerConfig(name=name), concurrency=concurrency, **settings)  # type: ignore[arg-type]
    for kill in kills:
        done.run(draw=draw, kill_after=len(done.trained) + kill)
    done.run(draw=draw)
    assert len(set(done.trained)) == len(done.trained)
    assert done.plan().pending == []
    stops = done.decisions().stops(each.peers for each in done.experiments)
    assert stops == done.stops
    for each in done.experiments:
        last = stops[each.name].round if each.name in stops else 4
        assert len(done.rounds[each.name]) == last + 1, each.name


def test_a_budget_of_rounds_is_kept_exactly_and_gives_every_dataset_an_answer(tmp_path: Path) -> None:
    scheduler = SchedulerConfig(name="none", budget=BudgetConfig(rounds=8))
    done = sweep(tmp_path, scheduler, each=2, concurrency=3)
    done.run(kill_after=4)
    done.run()
    assert len(done.trained) == 8
    assert all(done.rounds[each.name] for each in done.experiments)
    assert {stop.by for stop in done.stops.values()} == {"budget"}
    assert done.plan().pending == []
    more = sweep(tmp_path, SchedulerConfig(name="none", budget=BudgetConfig(rounds=9)), each=2)
    more.rounds = done.rounds
    more.run()
    assert len(more.trained) == 1


def test_a_budget_of_time_counts_all_runs_of_the_study(tmp_path: Path) -> None:
    done = sweep(tmp_path, SchedulerConfig(budget=BudgetConfig(hours=0.1)), each=1)  # six minutes, a round takes one
    done.run(kill_after=3)
    done.run()
    assert 6 <= len(done.trained) <= 7  # the minute that was killed had not been written down
    assert done.plan().pending == []


def test_a_failure_ends_its_experiment_only(tmp_path: Path) -> None:
    from lion_ray.schedule import TrainingOrder

    done = sweep(tmp_path, SchedulerConfig(name="hyperband"), each=1)
    order = TrainingOrder(done.plan(), done.scheduler, done.decisions())
    first = order.next()
    assert first is not None
    order.on_end(first.name)
    left = []
    while (chosen := order.next()) is not None:
        left.append(chosen.name)
    assert sorted(left) == ["emoji-0", "textile-0"]


def test_other_settings_decide_anew_from_what_is_stored(tmp_path: Path) -> None:
    strict = sweep(tmp_path, SchedulerConfig(), each=2, tolerance=0.0).run()
    assert strict.stops
    free = sweep(tmp_path, SchedulerConfig(name="none"), each=2)
    free.rounds = strict.rounds
    free.run()
    assert all(len(values) == 5 for values in free.rounds.values())


def test_damaged_decisions_are_said_and_made_again(tmp_path: Path) -> None:
    store, peers = Store(str(tmp_path)), experiment("a").peers
    decisions = Decisions(store, SchedulerConfig())
    made = Decision(experiment="a", round=1, val_accuracy=0.5, stopped=(("a", 1),), by="lottery")
    decisions.write(peers, [made])
    assert decisions.read(peers) == (made,)
    assert decisions.stops([peers]) == {"a": Stop(round=1, by="lottery")}
    (path,) = store.paths()
    payload = store.read(path)
    assert payload is not None
    for damaged in (payload[:-9], payload.replace(b"0.5", b"0.6"), b"[]"):
        store.write(path, damaged)
        with pytest.warns(DamagedArtifactWarning, match="counts as absent"):
            assert decisions.read(peers) == ()
