"""A study whose file changes between two runs: what had been decided under other settings, and what then counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lion_ray.config import BudgetConfig, SchedulerConfig
from lion_ray.store import DamagedArtifactWarning, Store
from lion_ray.study.decisions import Decisions, Stop
from tests.support.made_sweeps import Sweep, experiment

CURVE = (0.9, 0.9, 0.8, 0.9, 0.7)


def stopped_at_round_2(folder: Path) -> Sweep:
    """Two experiments on one dataset, stopped by their tolerance."""
    experiments = [experiment(name, tolerance=0.05) for name in ("a", "b")]
    done = Sweep(experiments, SchedulerConfig(), lambda _, number: CURVE[number], folder).run()
    assert done.stops == {name: Stop(round=2, by="lottery") for name in ("a", "b")}
    return done


@pytest.mark.parametrize("tolerance", [0.3, None])
def test_a_tolerance_that_is_raised_goes_on(tmp_path: Path, tolerance: float | None) -> None:
    done = stopped_at_round_2(tmp_path)
    done.experiments[0] = experiment("a", tolerance=tolerance)
    assert done.plan().pending == [done.experiments[0]]
    done.run()
    assert {name: len(values) for name, values in done.rounds.items()} == {"a": 5, "b": 3}
    assert [item.stop for item in done.plan().items] == [None, Stop(round=2, by="lottery")]


def test_a_tolerance_that_is_lowered_stops_before_anything_is_run(tmp_path: Path) -> None:
    done = Sweep([experiment("a")], SchedulerConfig(), lambda _, number: CURVE[number], tmp_path).run()
    done.experiments = [experiment("a", tolerance=0.05)]
    for _ in range(2):  # a sweep, which another experiment may need, changes nothing in it
        (item,) = done.plan().items
        assert item.is_finished
        assert (len(item.rounds), item.stop) == (3, Stop(round=2, by="lottery"))
        done.run()
    assert len(done.trained) == 5


def test_a_budget_stays_spent_where_the_tolerance_is_raised(tmp_path: Path) -> None:
    scheduler = SchedulerConfig(budget=BudgetConfig(rounds=4))
    experiments = [experiment(name, tolerance=0.05) for name in ("a", "b")]
    done = Sweep(experiments, scheduler, lambda _, number: CURVE[number], tmp_path).run()
    assert {stop.by for stop in done.stops.values()} == {"budget"}
    done.experiments = [experiment(name, tolerance=0.3) for name in ("a", "b")]
    assert done.plan().pending == []


def test_rounds_that_were_committed_beyond_a_stop_count_once_it_is_lifted(tmp_path: Path) -> None:
    """Two workers may finish a round before their stop reaches them."""
    scheduler = SchedulerConfig(budget=BudgetConfig(rounds=1))
    done = Sweep([experiment("a")], scheduler, lambda _, number: CURVE[number], tmp_path).run()
    done.rounds["a"].append(CURVE[1])
    (item,) = done.plan().items
    assert (len(item.rounds), item.stop, item.is_finished) == (1, Stop(round=0, by="budget"), True)
    done.scheduler = SchedulerConfig()
    done.run()
    assert [number for _, number in done.trained] == [0, 2, 3, 4]


def test_a_damaged_clock_is_said_and_starts_anew(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    decisions = Decisions(store, SchedulerConfig())
    decisions.write_seconds(60.0)
    assert decisions.seconds == 60.0
    (path,) = store.paths()
    for damaged in (b"", b"{", b"[]", b"{}"):
        store.write(path, damaged)
        with pytest.warns(DamagedArtifactWarning, match="clock.json counts as absent"):
            assert decisions.seconds == 0.0
