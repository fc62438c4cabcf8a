"""What each interval is about: it holds the truth as often as it says, and seeds are no datasets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from lion_ray.report.pairing import Accuracies, Difference, Gap, num_images, on_one, over_sets_like, over_these, pair

SEEDS = 3


def gap(*differences: float, error: float = 0.0, dataset: str = "a") -> Gap:
    return Gap(dataset=dataset, differences=differences, split_error=error)


def test_students_t_over_seeds_and_the_splits_error_add_in_squares() -> None:
    found = on_one(gap(0.01, 0.02, 0.03))
    assert found.mean == pytest.approx(0.02)
    assert found.high - found.mean == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)  # t(0.975, 2), tables
    both = on_one(gap(0.01, 0.02, 0.03, error=0.01))
    assert both.high - both.mean == pytest.approx(math.hypot(found.high - found.mean, 1.959964 * 0.01))
    assert math.isnan(on_one(gap(0.01)).low)
    with pytest.raises(ValueError, match="no pair"):
        over_these([])


def test_seeds_are_no_datasets() -> None:
    """Four sets whose gains differ, three seeds that agree: the README's headline was told apart as if n were 12."""
    gains = {"mnist": 0.11, "animals": 0.02, "textile": 0.01, "emoji": 0.01}
    gaps = [gap(each - 0.001, each, each + 0.001, dataset=name) for name, each in gains.items()]
    found = over_sets_like(gaps)
    assert found.num == 4
    assert found.low < 0 < found.high
    assert over_these(gaps).low > 0.03


def test_one_image_in_a_thousand_is_never_told_apart() -> None:
    one = {(dataset, seed): 0.901 for dataset in "abc" for seed in range(3)}
    other = dict.fromkeys(one, 0.9)
    gaps = pair(one, other, num_images([one, other]))
    for found in (*map(on_one, gaps), over_these(gaps), over_sets_like(gaps)):
        assert found.mean == pytest.approx(0.001)
        assert found.low < 0


def test_the_number_of_test_images_is_found_in_the_accuracies() -> None:
    found = num_images([{("a", 0): 863 / 1000, ("a", 1): 0.5}, {("a", 0): 0.87, ("b", 0): 1 / 3, ("b", 1): 2 / 7}])
    assert found == {"a": 1000, "b": 21}
    assert num_images([{("imagenet", 0): 100_001 / 150_001, ("imagenet", 1): 7 / 150_001}]) == {"imagenet": 150_001}


def test_one_dataset_says_nothing_of_others() -> None:
    assert math.isnan(over_sets_like([gap(0.1, 0.1, 0.1)]).low)


def experiment(rng: np.random.Generator, datasets: int, effects: Sequence[float], images: int) -> list[Gap]:
    """Two classifiers of each dataset over seeds: what is hard for one is often hard for the other."""
    one: dict[tuple[str, int], float] = {}
    other: dict[tuple[str, int], float] = {}
    for place in range(datasets):
        hardness = rng.random(images)
        for seed in range(SEEDS):
            for line, shift in ((one, effects[place]), (other, 0.0)):
                skill = 0.8 + shift + rng.normal(0, 0.004)
                right = np.where(rng.random(images) < 0.5, hardness < skill, rng.random(images) < skill)
                line[str(place), seed] = float(right.mean())
    return pair(one, other, dict.fromkeys(map(str, range(datasets)), images))


def coverage(about: Callable[[list[Gap]], Difference], truth: str, images: int = 400, runs: int = 400) -> float:
    """How often the interval holds the truth: of these datasets, or of all from which they were drawn."""
    rng, held = np.random.default_rng(7), 0
    for _ in range(runs):
        effects = rng.normal(0.02, 0.05, 5).clip(-0.15, 0.15).tolist()
        found = about(experiment(rng, 5, effects, images))
        true = {"these": float(np.mean(effects)), "all": 0.02, "first": effects[0]}[truth]
        held += found.low <= true <= found.high
    return held / runs


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    assert 0.93 <= coverage(over_sets_like, "all") <= 0.99
    assert coverage(over_these, "these") >= 0.95
    assert coverage(lambda gaps: on_one(gaps[0]), "first") >= 0.95
    assert coverage(over_these, "all", images=2000, runs=100) < 0.9, "datasets scatter more than seeds"


def test_seeds_in_common_alone_are_paired() -> None:
    one: Accuracies = {("a", 0): 0.5, ("a", 1): 0.7, ("b", 0): 0.9}
    other: Accuracies = {("a", 1): 0.6, ("a", 2): 0.1}
    (found,) = pair(one, other, {"a": 10})
    assert list(found.differences) == pytest.approx([0.1])
