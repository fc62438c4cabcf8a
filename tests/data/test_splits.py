"""Splits: stable for ever, disjoint, counted as documented."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from lion_ray.data.select.splits import SplitCounts, SplitRange, TooFewImages, plan, stable_order

NONE = SplitCounts()
PINNED_MNIST = [324, 609, 1011, 3169, 4118, 2599]
PINNED_FLOWERS = [1, 6, 2, 9, 8, 7, 4, 5, 0, 3]


def counts(parts: dict[str, SplitRange]) -> dict[str, int]:
    return {split: part.num for split, part in parts.items()}


def test_the_order_is_pinned() -> None:
    """It may never change: every identity and every published number hangs on it."""
    assert stable_order("mnist", 5000)[:6].tolist() == PINNED_MNIST
    assert stable_order("flowers", 10).tolist() == PINNED_FLOWERS


def test_the_order_is_a_permutation_that_depends_on_the_name_and_is_read_only() -> None:
    order = stable_order("a", 300)
    assert sorted(order.tolist()) == list(range(300))
    assert order.tolist() != stable_order("b", 300).tolist()
    assert not order.flags.writeable


def test_a_smaller_pool_keeps_the_order_of_what_stays() -> None:
    small, large = stable_order("x", 50).tolist(), stable_order("x", 80).tolist()
    assert small == [index for index in large if index < 50]


@pytest.mark.parametrize(
    ("sizes", "wish"),
    list(
        product(
            [
                {"pool": 100},
                {"train": 60, "val": 30},
                {"train": 60, "test": 30},
                {"train": 60, "val": 20, "test": 20},
            ],
            [NONE, SplitCounts(train=7), SplitCounts(train=9, val=8, test=7)],
        )
    ),
)
def test_splits_are_disjoint_and_never_empty(sizes: dict[str, int], wish: SplitCounts) -> None:
    parts = plan(sizes, wish, NONE)
    seen = [(part.pool, i) for part in parts.values() for i in part.indices("x", sizes[part.pool]).tolist()]
    assert len(seen) == len(set(seen)) == sum(counts(parts).values())
    assert list(parts) == ["train", "val", "test"]
    assert min(counts(parts).values()) > 0
    assert wish.train in (None, counts(parts)["train"])


def test_a_pool_is_cut_by_the_catalogues_counts_unless_the_study_says_otherwise() -> None:
    defaults = SplitCounts(train=800, val=200, test=1000)
    assert counts(plan({"pool": 5000}, NONE, defaults)) == {"train": 800, "val": 200, "test": 1000}
    assert counts(plan({"pool": 5000}, SplitCounts(train=50, test=9), defaults)) == {"train": 50, "val": 200, "test": 9}
    assert counts(plan({"pool": 1500}, NONE, defaults)) == {"train": 800, "val": 200, "test": 500}


def test_named_splits_are_kept_whole_and_in_their_own_order() -> None:
    parts = plan({"train": 6, "val": 4, "test": 5}, NONE, NONE)
    assert counts(parts) == {"train": 6, "val": 4, "test": 5}
    assert parts["train"].indices("x", 6).tolist() == list(range(6))
    assert parts["train"].identity("x")["order"] is None


def test_a_count_takes_the_first_of_the_stable_order() -> None:
    parts = plan({"train": 60, "val": 4, "test": 5}, SplitCounts(train=10), NONE)
    np.testing.assert_array_equal(parts["train"].indices("x", 60), stable_order("x", 60)[:10])
    assert parts["train"].identity("x") == {"pool": "train", "first": 0, "num": 10, "order": "x"}


def test_a_missing_val_takes_200_or_a_fifth_from_train() -> None:
    assert counts(plan({"train": 5000, "test": 9}, NONE, NONE)) == {"train": 4800, "val": 200, "test": 9}
    assert counts(plan({"train": 50, "test": 9}, NONE, NONE)) == {"train": 40, "val": 10, "test": 9}
    assert counts(plan({"pool": 50}, NONE, NONE)) == {"train": 30, "val": 10, "test": 10}


def test_one_image_for_test_is_enough_and_none_is_too_few() -> None:
    assert counts(plan({"pool": 11}, SplitCounts(train=8, val=2, test=50), NONE))["test"] == 1
    with pytest.raises(TooFewImages, match="8 train \\+ 3 val \\+ at least 1 test do not fit into 11 images"):
        plan({"pool": 11}, SplitCounts(train=8, val=3), NONE)


def test_a_count_above_a_named_split_is_refused() -> None:
    with pytest.raises(TooFewImages, match="7 is more than the 6 images of train") as caught:
        plan({"train": 6, "val": 4, "test": 5}, SplitCounts(train=7), NONE)
    assert caught.value.key == "num_train"
