"""Which splits a stage sees: by its types, by what its process is handed, and by a test split nobody may touch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch

from lion_ray import backbones, config
from lion_ray.data import Dataset, JoinedSplit, Split
from lion_ray.experiments import Experiment, expand, final_run, protocol
from lion_ray.experiments.protocol import SEARCH, FinalData, SearchData, final_stage
from lion_ray.lottery import Round
from lion_ray.store import Store
from lion_ray.sweep.trial_inputs import SharedDataset, work_on
from lion_ray.training.feature_cache import FeatureCache
from lion_ray.training.workers import SingleWorker
from lion_ray.trial.trainer import run_experiment
from tests.support.small_runs import artifacts, decoded

GRID = "protocol={name: vtab1k, search: {train.lr: [0.01]}}"


class Poisoned(Split):
    """A test split that nobody may look at."""

    def _raise(self, *_: Any, **__: Any) -> NoReturn:
        raise AssertionError("the test split was opened")

    images = property(_raise)
    gather = chunks = prepare = __len__ = _raise


def searched(file: Path, *overrides: str) -> Experiment:
    return expand(config.load(file, ["methods=[lion]", GRID, *overrides]))[0]


def run(experiment: Experiment, dataset: Dataset, store: Store, features: FeatureCache | None = None) -> list[Round]:
    """As a trial's process does it: from the splits that the experiment's stage opens."""
    shared = SharedDataset(
        name=dataset.name,
        classes=dataset.classes,
        splits={name: getattr(dataset, name) for name in ("train", "val", "test")},
    )
    given = work_on(experiment, shared).data
    handed = protocol.phase_data(experiment.stage, given.name, given.classes, given.splits)
    return list(
        run_experiment(
            experiment,
            handed,
            store,
            backbone=backbones.load(experiment.backbone),
            workers=SingleWorker(),
            device=torch.device("cpu"),
            on_epoch=lambda *_: None,
            features=features,
        )
    )


def test_the_types_of_the_stages_lack_what_the_stages_may_not_see() -> None:
    assert "test" not in {field.name for field in dataclasses.fields(SearchData)}
    assert "val" not in {field.name for field in dataclasses.fields(FinalData)}
    assert protocol.splits_of(SEARCH) == ("train", "val")
    assert (
        protocol.splits_of(final_stage("fewshot")) == protocol.splits_of(final_stage("longtail")) == ("train", "test")
    )
    assert protocol.splits_of(final_stage("vtab1k")) == protocol.splits_of(final_stage("fixed"))


@pytest.mark.parametrize("method", ["linear", "lion"])
def test_a_search_trial_never_touches_the_test_split(study_file: Path, tmp_path: Path, method: str) -> None:
    experiment = searched(study_file, f"methods=[{method}]")
    whole = decoded(experiment)
    poisoned = dataclasses.replace(whole, test=Poisoned(labels=whole.test.labels))
    rounds = run(experiment, poisoned, Store(str(tmp_path)))
    assert [each.metrics.test_accuracy for each in rounds] == [None] * len(rounds)
    with pytest.raises(AssertionError, match="was opened"):  # a final run does: the poison works
        run(final_run(experiment, final_stage("vtab1k"), seed=1, rounds=1), poisoned, Store(str(tmp_path)))


def test_nothing_of_a_final_runs_test_split_stays_in_the_process_for_a_search_trial(
    study_file: Path, tmp_path: Path
) -> None:
    experiment = searched(study_file, "methods=[linear]")
    final = final_run(experiment, final_stage("vtab1k"), seed=1, rounds=1)
    features = FeatureCache()
    run(final, decoded(experiment), Store(str(tmp_path)), features)
    assert "test" in {split for split, _ in features._kept}
    run(experiment, decoded(experiment), Store(str(tmp_path)), features)
    assert "test" not in {split for split, _ in features._kept}


def test_a_final_run_trains_on_train_and_val_and_has_no_validation_accuracy(study_file: Path, tmp_path: Path) -> None:
    final = final_run(searched(study_file), final_stage("vtab1k"), seed=42, rounds=2)
    rounds = run(final, decoded(final), Store(str(tmp_path)))
    assert len(rounds) == 2  # as many as the search has fixed, though the study asks for three
    for each in rounds:
        assert each.metrics.val_accuracy is None
        assert each.metrics.test_accuracy is not None
        assert 0 <= each.metrics.test_accuracy <= 1
        for record in each.metrics.history:
            assert record.val_accuracy is None
            correct = record.train_accuracy * (48 + 24)
            assert correct == pytest.approx(round(correct))


def test_controls_are_trained_beside_final_runs_alone(study_file: Path, tmp_path: Path) -> None:
    experiment = searched(study_file, "lottery={rounds: 2, prune: 0.5, controls: [reinit]}", "train.epochs=1")
    store, final = Store(str(tmp_path)), final_run(experiment, final_stage("vtab1k"), seed=1, rounds=2)
    for each in (experiment, final):
        run(each, decoded(each), store)
    assert [key for key in store.committed() if "reinit" in key] == [f"experiments/{final.name}/round-1-reinit"]


def test_a_final_run_that_is_repeated_has_the_same_bits_and_another_seed_has_others(
    study_file: Path, tmp_path: Path
) -> None:
    stores = [Store(str(tmp_path / name)) for name in ("one", "two")]
    final = final_run(searched(study_file), final_stage("fixed"), seed=42, rounds=1)
    for store in stores:
        run(final, decoded(final), store)
    assert artifacts(stores[0]) == artifacts(stores[1])
    assert final_run(final, final_stage("fixed"), seed=44, rounds=1).name != final.name


def test_few_shots_and_long_tails_keep_their_training_images(study_file: Path, tmp_path: Path) -> None:
    final = final_run(searched(study_file, "methods=[linear]"), final_stage("longtail"), seed=42, rounds=1)
    whole = decoded(final)
    (only,) = run(final, whole, Store(str(tmp_path)))
    correct = only.metrics.history[-1].train_accuracy * 48
    assert correct == pytest.approx(round(correct))
    assert only.metrics.test_accuracy_by_count["many"] is None  # 48 images of 10 classes
    assert only.metrics.test_accuracy_by_count["medium"] is None
    assert only.metrics.test_accuracy_by_count["few"] == only.metrics.test_accuracy


def test_classes_are_grouped_by_their_training_images() -> None:
    counts = {0: 101, 1: 100, 2: 20, 3: 19, 4: 0}
    labels = np.repeat(list(counts), list(counts.values()))
    labels.flags.writeable = False
    groups = protocol.count_groups(Poisoned(labels=labels), num_classes=5)
    assert {name: classes.tolist() for name, classes in groups.items()} == {
        "many": [0],
        "medium": [1, 2],
        "few": [3, 4],
    }


def test_joined_splits_give_the_images_of_both_in_order(study_file: Path) -> None:
    whole = decoded(searched(study_file))
    joined = JoinedSplit.of(whole.train, whole.val)
    images = np.concatenate([whole.train.images, whole.val.images])
    rows = np.random.default_rng(0).permutation(len(joined))
    assert np.array_equal(joined.gather(rows), images[rows])
    assert np.array_equal(joined.gather(rows[:1]), images[rows[:1]])
    assert np.array_equal(np.concatenate([*joined.chunks(np.arange(60), 7, num_threads=1)]), images[:60])
    assert np.array_equal(joined.images, images)
    assert joined.labels.tolist() == [*whole.train.labels, *whole.val.labels]


def test_the_process_of_a_search_trial_is_told_of_no_test_split(study_file: Path) -> None:
    shared = SharedDataset(name="mnist", classes=("a", "b"), splits={"train": 1, "val": 2, "test": 3})
    experiment = searched(study_file)
    assert set(work_on(experiment, shared).data.splits) == {"train", "val"}
    final = final_run(experiment, final_stage("longtail"), seed=1, rounds=1)
    assert set(work_on(final, shared).data.splits) == {"train", "test"}
