"""Few-shot, long-tailed, noisy and small training sets: exact, nested, drawn by the seed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lion_ray import config
from lion_ray.config import DatasetConfig, ImbalanceConfig, LabelNoiseConfig, StudyError
from lion_ray.data import Source, find
from lion_ray.data.select.sampling import apply_modifiers, few_shot, long_tailed, noisy, subset
from lion_ray.data.select.splits import SplitCounts, TooFewImages, plan, with_val_share
from lion_ray.experiments import dataset_label, expand

CLASSES = tuple("abcdefghij")
INDICES = np.arange(1000, dtype=np.int64)
LABELS = INDICES % 10
LONG_TAIL = ImbalanceConfig(ratio=10)
NOISE = LabelNoiseConfig(rate=0.2)
CIFAR_10_LT = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def counts(labels: np.ndarray, num_classes: int = 10) -> list[int]:
    return [int(number) for number in np.bincount(labels, minlength=num_classes)]


def test_draws_are_pinned() -> None:
    """They may never change: every published number on a modified set hangs on them."""
    assert few_shot(INDICES, LABELS, 1, 0, CLASSES).tolist() == PINNED_SHOTS
    assert long_tailed(INDICES[:40], LABELS[:40], 4.0, 0, CLASSES).tolist() == PINNED_TAIL
    assert subset(INDICES, 6, 0).tolist() == PINNED_SUBSET
    changed = noisy(INDICES, LABELS, 10, 0.005, 0)
    where = np.flatnonzero(changed != LABELS).tolist()
    assert {place: int(changed[place]) for place in where} == PINNED_NOISE


PINNED_SHOTS = [132, 315, 327, 359, 364, 668, 721, 873, 946, 950]
PINNED_TAIL = [0, 10, 11, 13, 14, 15, 16, 17, 20, 21, 22, 24, 28, 29, 30, 31, 32, 33]
PINNED_SUBSET = [226, 597, 660, 836, 906, 974]
PINNED_NOISE = {37: 6, 227: 3, 637: 3, 910: 7, 975: 2}


def test_shots_are_exact_per_class_and_fewer_are_part_of_more() -> None:
    one, five = (few_shot(INDICES, LABELS, shots, 3, CLASSES) for shots in (1, 5))
    assert counts(LABELS[one]) == [1] * 10
    assert counts(LABELS[five]) == [5] * 10
    assert set(one) < set(five)
    assert five.tolist() == sorted(five.tolist())
    assert five.tolist() != few_shot(INDICES, LABELS, 5, 4, CLASSES).tolist()


def test_more_shots_than_a_class_has_names_the_class() -> None:
    with pytest.raises(TooFewImages, match="3 is more than the 2 training images of class 'b'") as caught:
        few_shot(INDICES[:5], np.array([0, 0, 0, 1, 1]), 3, 0, ("a", "b"))
    assert caught.value.key == "shots"


def test_the_long_tail_is_cifar_lts() -> None:
    labels = np.repeat(np.arange(10), 5000)
    kept = long_tailed(np.arange(50000), labels, 100, 0, CLASSES)
    assert counts(labels[kept]) == CIFAR_10_LT
    labels = np.repeat(np.arange(100), 500)
    kept = long_tailed(np.arange(50000), labels, 100, 0, tuple(map(str, range(100))))
    assert len(kept) == 10847
    assert counts(labels[kept], 100)[-1] == 5


def test_a_class_below_its_share_keeps_what_it_has_and_none_is_emptied() -> None:
    labels = np.repeat([0, 1, 2], [100, 4, 100])
    kept = long_tailed(np.arange(204), labels, 10, 0, ("a", "b", "c"))
    assert counts(labels[kept], 3) == [100, 4, 10]
    with pytest.raises(TooFewImages, match="1000 leaves class 'c' nothing of 100 images"):
        long_tailed(np.arange(204), labels, 1000, 0, ("a", "b", "c"))


@pytest.mark.parametrize(("rate", "number"), [(0.2, 200), (0.0014, 1), (0.0015, 2), (0.29, 290), (1.0, 1000)])
def test_label_noise_changes_exactly_its_rate_each_to_another_class(rate: float, number: int) -> None:
    changed = noisy(INDICES, LABELS, 10, rate, 0)
    assert int((changed != LABELS).sum()) == number
    assert set(changed) <= set(range(10))
    assert not changed.flags.writeable


def test_label_noise_is_as_likely_to_give_each_other_class() -> None:
    shifts = (noisy(INDICES, LABELS, 10, 1.0, 0) - LABELS) % 10
    assert counts(shifts)[0] == 0
    assert min(counts(shifts)[1:]) > 80  # 111 each on average


def test_more_noise_keeps_the_changes_of_less() -> None:
    less, more = (noisy(INDICES, LABELS, 10, rate, 0) for rate in (0.1, 0.3))
    changed = less != LABELS
    np.testing.assert_array_equal(less[changed], more[changed])


def test_a_subset_is_exact_nested_and_in_the_splits_order() -> None:
    small, large = subset(INDICES, 10, 0), subset(INDICES, 30, 0)
    assert (len(small), len(large)) == (10, 30)
    assert set(small) < set(large)
    assert small.tolist() == sorted(small.tolist())
    with pytest.raises(TooFewImages, match="1001 is more than the 1000 training images"):
        subset(INDICES, 1001, 0)


def test_modifiers_apply_in_their_order_imbalance_subset_noise() -> None:
    asked = DatasetConfig(name="a", imbalance=LONG_TAIL, subset=100, label_noise=NOISE, seed=5)
    kept = long_tailed(INDICES, LABELS, 10, 5, CLASSES)
    kept = kept[subset(INDICES[kept], 100, 5)]
    indices, labels = apply_modifiers(asked, INDICES, LABELS, CLASSES)
    np.testing.assert_array_equal(indices, kept)
    np.testing.assert_array_equal(labels, noisy(kept, LABELS[kept], 10, 0.2, 5))
    assert int((labels != LABELS[indices]).sum()) == 20


def test_a_draw_depends_on_images_not_on_where_the_split_puts_them() -> None:
    shuffled = np.roll(INDICES, 77)
    kept = shuffled[few_shot(shuffled, LABELS[shuffled], 2, 0, CLASSES)]
    assert set(kept) == set(few_shot(INDICES, LABELS, 2, 0, CLASSES))


def mnist(**asked: Any) -> Source:
    return find(DatasetConfig(name="mnist", **asked), source="my.yaml")


def test_only_train_is_modified_and_pixels_stay_with_their_labels() -> None:
    plain, noised = (mnist(num_test=30, **asked).decode(size=16) for asked in ({}, {"label_noise": NOISE}))
    assert int((plain.train.labels != noised.train.labels).sum()) == 160
    np.testing.assert_array_equal(plain.train.images, noised.train.images)
    few = mnist(num_test=30, shots=2).decode(size=16).train
    assert counts(few.labels) == [2] * 10
    place = next(at for at, image in enumerate(plain.train.images) if np.array_equal(image, few.images[0]))
    assert plain.train.labels[place] == few.labels[0]
    for split in ("val", "test"):
        np.testing.assert_array_equal(getattr(plain, split).labels, getattr(noised, split).labels)


def test_modifiers_and_their_seed_are_identity_and_nothing_else_changes_it() -> None:
    plain, few, other = (mnist(**asked).identity() for asked in ({}, {"shots": 2}, {"shots": 2, "seed": 1}))
    assert "modifiers" not in plain
    assert few == {**plain, "modifiers": {"shots": 2, "seed": 0}}
    assert other["modifiers"] == {"shots": 2, "seed": 1}
    assert mnist(label_noise=NOISE).identity()["modifiers"] == {
        "label_noise": {"kind": "symmetric", "rate": 0.2},
        "seed": 0,
    }


def test_a_study_file_names_modifiers_and_labels_show_them(study_file: Path) -> None:
    asked = "datasets=[{name: mnist, shots: 4, label_noise: {kind: symmetric, rate: 0.25}, num_val: 8, num_test: 8}]"
    experiment = expand(config.load(study_file, [asked]))[0]
    identity: dict[str, Any] = dict(experiment.identity)
    assert identity["dataset"]["modifiers"] == {
        "shots": 4,
        "label_noise": {"kind": "symmetric", "rate": 0.25},
        "seed": 0,
    }
    assert dataset_label(experiment.dataset) == ("mnist(num_val=8, num_test=8, shots=4, label_noise={rate=0.25})")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("shots: 2, imbalance: {ratio: 10}", "shots and imbalance are both given: each says how many images a class"),
        ("shots: 2, subset: 9", "shots and subset are both given: shots fixes"),
        ("shots: 2, num_train: 9", "shots and num_train are both given"),
        ("subset: 2, num_train: 9", "subset and num_train are both given"),
        ("val: 0.1, num_val: 9", "val and num_val are both given: each says how large val is"),
        ("seed: 3", "seed draws for shots, imbalance, subset, label_noise, and none of them is given"),
        ("val: 1.0", "datasets.0.val: 1.0 is not allowed"),
        ("shots: 0", "datasets.0.shots: 0 is not allowed"),
        ("imbalance: {ratio: 1}", "datasets.0.imbalance.ratio: 1 is not allowed"),
        ("imbalance: {kind: step, ratio: 5}", "datasets.0.imbalance.kind: 'step' is not allowed"),
        ("label_noise: {rate: 1.5}", "datasets.0.label_noise.rate: 1.5 is not allowed"),
    ],
)
def test_what_makes_no_sense_is_one_line(study_file: Path, asked: str, says: str) -> None:
    with pytest.raises(StudyError) as caught:
        config.load(study_file, [f"datasets=[{{name: mnist, {asked}}}]"])
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_shots_name_file_and_key() -> None:
    with pytest.raises(StudyError, match=r"^my.yaml: datasets\.mnist\.shots: 500 is more than the \d+ training images"):
        mnist(shots=500)


@pytest.mark.parametrize(
    ("sizes", "wish", "defaults", "numbers"),
    [
        ({"train": 50000, "test": 10000}, SplitCounts(), SplitCounts(), (45000, 5000, 10000)),
        ({"train": 290, "test": 5}, SplitCounts(), SplitCounts(), (261, 29, 5)),
        ({"train": 50000, "test": 10000}, SplitCounts(train=100), SplitCounts(), (100, 5000, 10000)),
        ({"pool": 5000}, SplitCounts(), SplitCounts(train=800, val=200, test=1000), (900, 100, 1000)),
        ({"pool": 100}, SplitCounts(), SplitCounts(), (72, 8, 20)),
        ({"train": 100}, SplitCounts(test=10), SplitCounts(), (81, 9, 10)),
    ],
)
def test_a_share_of_train_becomes_val(
    sizes: dict[str, int], wish: SplitCounts, defaults: SplitCounts, numbers: tuple[int, ...]
) -> None:
    parts = plan(sizes, with_val_share(sizes, wish, defaults, 0.1), defaults)
    assert tuple(part.num for part in parts.values()) == numbers


def test_a_share_for_val_is_refused_where_the_source_has_one() -> None:
    with pytest.raises(TooFewImages, match="the source has 5 val images of its own") as caught:
        with_val_share({"train": 9, "val": 5, "test": 5}, SplitCounts(), SplitCounts(), 0.1)
    assert caught.value.key == "val"
