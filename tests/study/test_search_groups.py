"""From search to final runs, on made-up accuracies and a real store: what is chosen, whatever is killed."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lion_ray.report import scores, trainings
from lion_ray.store import DamagedArtifactWarning, Store
from lion_ray.study import request
from tests.support.drivers import Driver, study


def test_each_group_goes_on_by_itself_as_soon_as_its_search_is_over(study_file: Path, tmp_path: Path) -> None:
    driver = Driver(study(study_file), Store(str(tmp_path / "store")), concurrency=1)
    driver.run()
    assert len(driver.trained) == 2 * (4 + 2) + 2 * (4 * 3 + 2 * 3)
    groups = [name.split("-")[0] + ("search" if "search" in name else "final") for name, _ in driver.trained[:12]]
    assert groups == (["mnistsearch"] * 4 + ["mnistfinal"] * 2 + ["animal_mnistsearch"] * 4 + ["animal_mnistfinal"] * 2)
    assert driver.stages.plan(driver.store).pending == []


def test_a_final_run_trains_the_setting_whose_trial_was_best(study_file: Path, tmp_path: Path) -> None:
    driver = Driver(study(study_file), Store(str(tmp_path)), lambda each, _: 1 - abs(each.train.lr - 0.01))
    driver.run()
    finals = [item.experiment for item in driver.stages.plan(driver.store).items if not item.experiment.is_search]
    assert len(finals) == 2 * 2 * 2
    assert {(each.train.lr, each.lottery.tolerance, each.stage and each.stage.name) for each in finals} == {
        (0.01, None, "final")
    }
    assert {each.seed for each in finals} == {42, 44}


@pytest.mark.parametrize("scheduler", ["lottery", "asha", "hyperband", "median"])
def test_a_sweep_that_is_killed_at_any_moment_chooses_the_same_and_trains_nothing_twice(
    study_file: Path, tmp_path: Path, scheduler: str
) -> None:
    of = study(study_file, f"scheduler={scheduler}", "methods=[{name: lion, input: false}]")
    whole = Driver(of, Store(str(tmp_path / "whole")), concurrency=1)
    whole.run()
    killed = Driver(of, Store(str(tmp_path / "killed")), concurrency=1)
    for _ in range(40):
        killed.run(kill_after=len(killed.trained) + 3)
    assert killed.choices == whole.choices
    assert len(whole.choices) == 2
    assert sorted(killed.trained) == sorted(set(killed.trained)) == sorted(whole.trained)
    for plan in (killed.stages.plan(killed.store), whole.stages.plan(whole.store)):
        assert (plan.pending, list(plan.awaiting_choice)) == ([], [])


def test_whatever_finishes_first_the_lottery_chooses_the_same(study_file: Path, tmp_path: Path) -> None:
    found = []
    for seed in range(3):
        driver = Driver(study(study_file, "lottery={rounds: 3, tolerance: 0.2}"), Store(str(tmp_path / str(seed))))
        driver.concurrency = 5
        driver.run(draw=random.Random(seed))
        found.append(driver.choices)
    assert found[0] == found[1] == found[2]


def test_a_choice_on_record_counts_and_a_damaged_one_is_made_again(study_file: Path, tmp_path: Path) -> None:
    driver = Driver(study(study_file), Store(str(tmp_path)))
    driver.run()
    before = driver.choices
    path = min(before)
    driver.store.write(path, b"{")
    with pytest.warns(DamagedArtifactWarning, match="counts as absent"):
        driver.stages.plan(driver.store, keep=False)
    with pytest.warns(DamagedArtifactWarning):
        assert driver.stages.plan(driver.store).pending == []
    assert driver.choices == before


def test_a_setting_that_diverges_is_no_failure_and_is_not_tried_again(study_file: Path, tmp_path: Path) -> None:
    driver = Driver(study(study_file, "methods=[linear]"), Store(str(tmp_path)))
    driver.diverges = lambda each: each.train.lr == 0.1
    driver.run()
    plan = driver.stages.plan(driver.store)
    assert (plan.pending, list(plan.awaiting_choice)) == ([], [])
    assert {item.stop.by for item in plan.items if item.stop} == {"divergence"}
    assert len(driver.choices) == 2 + 2


def test_nothing_is_chosen_while_a_trial_has_failed_for_another_reason(study_file: Path, tmp_path: Path) -> None:
    driver = Driver(study(study_file, "methods=[linear]"), Store(str(tmp_path)))
    driver.fails = lambda each: each.is_search and each.train.lr == 0.1 and each.dataset.name == "mnist"
    driver.run()
    plan = driver.stages.plan(driver.store)
    assert [each.train.lr for each in plan.pending] == [0.1]
    assert {each.dataset.name for each in plan.awaiting_choice} == {"mnist"}
    driver.fails = lambda _: False
    driver.run()
    plan = driver.stages.plan(driver.store)
    assert (plan.pending, list(plan.awaiting_choice)) == ([], [])


def test_a_budget_that_ends_a_search_chooses_nothing_until_it_is_raised(study_file: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    spent = Driver(study(study_file, "methods=[linear]", "scheduler.budget={rounds: 8}"), store, concurrency=1)
    spent.run()
    assert len(spent.trained) == 8  # one group to its end, and half of the other's search
    plan = spent.stages.plan(store)
    assert (plan.pending, {each.dataset.name for each in plan.awaiting_choice}) == ([], {"animal_mnist"})
    more = Driver(study(study_file, "methods=[linear]", "scheduler.budget={rounds: 99}"), store, concurrency=1)
    more.run()
    assert len(more.trained) == 4
    plan = more.stages.plan(store)
    assert (plan.pending, list(plan.awaiting_choice)) == ([], [])


def test_another_seed_or_more_rounds_train_only_what_is_new(study_file: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    Driver(study(study_file), store).run()
    more = Driver(study(study_file, "seeds=[42, 44, 82]"), store)
    more.run()
    assert len(more.trained) == 2 * (1 + 3)
    longer = Driver(study(study_file, "lottery={rounds: 4, prune: 0.5}", "methods=[{name: lion, input: false}]"), store)
    longer.run()
    searched = [number for name, number in longer.trained if "search" in name]
    assert searched == [3] * 8


def test_a_report_reads_final_runs_from_the_record_and_says_what_is_awaited(study_file: Path, tmp_path: Path) -> None:
    of = study(study_file)
    driver = Driver(of, Store(str(tmp_path)), concurrency=1)
    request.record(driver.store, of, driver.stages.experiments)
    driver.run(kill_after=6)  # of mnist/linear all is done
    views = trainings.opened([driver.store.url])
    found = trainings.all_trainings(views)
    done = {training.experiment for training in found if training.record}
    assert done == {name for name, _ in driver.trained}
    assert "its setting is not chosen yet" in {training.reason for training in found}
    told = scores.scores(found, trainings.groups(views))
    (linear,) = (score for score in told if score.line.method == "linear")
    assert {name for name, cell in linear.cells.items() if cell.values} == {"mnist(num_train=20)"}


def test_a_report_waits_for_a_choice_that_a_killed_driver_did_not_write_down(study_file: Path, tmp_path: Path) -> None:
    of = study(study_file)
    driver = Driver(of, Store(str(tmp_path)), concurrency=1)
    request.record(driver.store, of, driver.stages.experiments)
    driver.run(kill_after=4)  # all trials of mnist/linear, and no choice
    assert not driver.choices
    found = trainings.all_trainings(trainings.opened([driver.store.url]))
    finals = [training for training in found if training.stage == trainings.FINAL]
    assert len(finals) == 2 * 2 + 2 * 2 * 3  # seeds, datasets; LION has three rounds
    assert {training.reason for training in finals} == {"its setting is not chosen yet"}
