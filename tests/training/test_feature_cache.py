"""Fixed features are computed once in a process, for every experiment that may share them, and never for another."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import patch

import torch

from lion_ray.backbones import Transform
from lion_ray.store import Store
from lion_ray.training.batches import Examples, prepare
from lion_ray.training.feature_cache import FeatureCache
from lion_ray.trial import prepared_splits
from tests.support.small_runs import artifacts, experiment, run

TRANSFORM = Transform(size=8, interpolation="bicubic", crop_fraction=None, mean=(0.5,) * 3, std=(0.5,) * 3)


def examples(rows: int) -> Examples:
    """4 kB per row."""
    return Examples(split=None, features=torch.zeros(rows, 1024), labels=torch.zeros(rows), transform=TRANSFORM)


def test_what_was_used_last_stays_and_what_does_not_fit_is_not_kept() -> None:
    cache = FeatureCache(limit_bytes=3 * 4096)
    one, two = cache.get("train", "one", lambda: examples(1)), cache.get("train", "two", lambda: examples(2))
    assert cache.get("train", "one", lambda: examples(1)) is one
    three = cache.get("train", "three", lambda: examples(1))  # two was used least recently
    assert cache.get("train", "one", lambda: examples(1)) is one
    assert cache.get("train", "three", lambda: examples(1)) is three
    assert cache.get("train", "two", lambda: examples(2)) is not two
    large = cache.get("train", "large", lambda: examples(9))
    assert cache.get("train", "large", lambda: examples(9)) is not large


def test_methods_seeds_and_turns_share_features_and_other_data_has_its_own(study_file: Path, tmp_path: Path) -> None:
    features = FeatureCache()
    other = "datasets=[{name: mnist, num_train: 40, num_val: 24, num_test: 24}]"
    counts = []
    settings: tuple[list[str], ...] = (
        [],
        ["methods=[linear]"],
        ["seeds=[1]"],
        [other],
        [other, "train.precision=bf16"],
    )
    for number, overrides in enumerate(settings):
        chosen = experiment(study_file, "methods=[{name: lion, input: false}]", "lottery.rounds=1", *overrides)
        with patch.object(prepared_splits, "prepare", wraps=prepare) as made:
            run(chosen, Store(str(tmp_path / str(number))), features=features)
        counts.append(made.call_count)
    assert counts == [3, 0, 0, 3, 0]
    fresh = Store(str(tmp_path / "fresh"))
    run(experiment(study_file, "methods=[linear]", "lottery.rounds=1"), fresh, features=FeatureCache())
    assert artifacts(fresh) == artifacts(Store(str(tmp_path / "1")))


def test_features_of_other_arithmetic_are_others(study_file: Path, tmp_path: Path) -> None:
    features = FeatureCache()
    chosen = experiment(study_file, "methods=[linear]", "lottery.rounds=1", "train.epochs=1")
    counts: list[int] = []
    threads = torch.get_num_threads()
    try:
        for is_deterministic, number in ((False, threads), (True, threads), (True, threads + 1)):
            torch.use_deterministic_algorithms(is_deterministic)
            torch.set_num_threads(number)
            with patch.object(prepared_splits, "prepare", wraps=prepare) as made:
                run(chosen, Store(str(tmp_path / str(len(counts)))), features=features)
            counts.append(made.call_count)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(threads)
    assert counts == [3, 3, 3]
