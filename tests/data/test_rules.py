"""Label and image rules over records shaped like TFDS's, and the positional splits of the 19 tasks.

The boundaries are those of google-research/task_adaptation; the slices were compared with those that scenic's VTAB
configuration writes out.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from lion_ray.data.catalogue import CATALOGUE, image_of, label_of, slices_of
from lion_ray.data.catalogue.slices import slice_of
from lion_ray.data.item import BadData

CAR, VAN, TRUCK, PEDESTRIAN, TRAM = 0, 1, 2, 3, 6


def clevr(*distances: float) -> dict[str, Any]:
    coords = np.array([[100.0, 50.0, distance] for distance in distances], dtype=np.float32).reshape(-1, 3)
    return {"objects": {"size": np.zeros(len(distances), np.int64), "pixel_coords": coords}}


def kitti(*objects: tuple[int, float]) -> dict[str, Any]:
    types = np.array([kind for kind, _ in objects], dtype=np.int64)
    places = np.array([[1.0, 2.0, depth] for _, depth in objects], dtype=np.float32).reshape(-1, 3)
    return {"objects": {"type": types, "location": places}}


def dsprites(**factors: int) -> dict[str, Any]:
    return {f"label_{name}": np.int64(value) for name, value in factors.items()}


@pytest.mark.parametrize(
    ("rule", "record", "label"),
    [
        ("label", {"label": np.int64(4)}, 4),
        ("clevr_count", clevr(*[9.0] * 3), 0),
        ("clevr_count", clevr(*[9.0] * 10), 7),
        ("clevr_dist", clevr(7.9, 12.0), 0),
        ("clevr_dist", clevr(8.0), 0),  # the threshold has to lie strictly below
        ("clevr_dist", clevr(8.01), 1),
        ("clevr_dist", clevr(8.5), 1),
        ("clevr_dist", clevr(8.51), 2),
        ("clevr_dist", clevr(9.0), 2),
        ("clevr_dist", clevr(9.5, 9.2), 3),
        ("clevr_dist", clevr(9.51), 4),
        ("clevr_dist", clevr(10.0), 4),
        ("clevr_dist", clevr(10.01, 50.0), 5),
        ("clevr_dist", clevr(100.0), 5),
        ("kitti", kitti((CAR, 1.0)), 0),
        ("kitti", kitti((CAR, -3.0)), 0),
        ("kitti", kitti((VAN, 8.0)), 0),
        ("kitti", kitti((TRUCK, 8.01)), 1),
        ("kitti", kitti((CAR, 20.0)), 1),
        ("kitti", kitti((CAR, 20.01)), 2),
        ("kitti", kitti((CAR, 30.0), (VAN, 1.0)), 0),
        ("kitti", kitti((PEDESTRIAN, 1.0), (CAR, 30.0)), 2),
        ("kitti", kitti((PEDESTRIAN, 1.0), (TRAM, 2.0)), 3),
        ("kitti", kitti(), 3),
        ("dsprites_loc", dsprites(x_position=0), 0),
        ("dsprites_loc", dsprites(x_position=1), 0),
        ("dsprites_loc", dsprites(x_position=2, y_position=31), 1),
        ("dsprites_loc", dsprites(x_position=31), 15),
        ("smallnorb_azi", dsprites(azimuth=17, elevation=8), 17),
        ("smallnorb_ele", dsprites(azimuth=17, elevation=8), 8),
    ],
)
def test_a_rule_gives_the_benchmarks_label(rule: str, record: dict[str, Any], label: int) -> None:
    assert label_of(rule, record, 18) == label


def test_orientations_fall_into_16_classes_of_three_and_two_by_turns() -> None:
    labels = [label_of("dsprites_ori", dsprites(orientation=value), 16) for value in range(40)]
    assert labels == [int(value // 2.5) for value in range(40)]
    assert [labels.count(label) for label in range(16)] == [3, 2] * 8


@pytest.mark.parametrize(
    ("rule", "record", "num_classes"),
    [
        ("label", {"label": np.int64(-1)}, 5),
        ("label", {"label": np.int64(5)}, 5),
        ("clevr_count", clevr(9.0, 9.0), 8),
        ("clevr_count", clevr(*[9.0] * 11), 8),
        ("clevr_dist", clevr(0.0), 6),
        ("clevr_dist", clevr(100.5), 6),
        ("clevr_dist", clevr(), 6),
        ("clevr_dist", clevr(float("nan")), 6),
        ("kitti", kitti((CAR, -100.0)), 4),
        ("dsprites_loc", dsprites(x_position=32), 16),
        ("dsprites_ori", dsprites(orientation=40), 16),
        ("smallnorb_azi", dsprites(azimuth=18), 18),
    ],
)
def test_a_label_out_of_range_is_refused(rule: str, record: dict[str, Any], num_classes: int) -> None:
    with pytest.raises(BadData, match=f"of rule {rule} is outside 0..{num_classes - 1}"):
        label_of(rule, record, num_classes)


def test_a_record_without_the_field_says_which_it_has() -> None:
    with pytest.raises(BadData, match=re.escape("no field 'label' (it has: objects)")):
        label_of("label", clevr(9.0), 6)
    with pytest.raises(BadData, match="no field 'image'"):
        image_of("image", clevr(9.0))


def test_binary_images_become_black_and_white_in_three_channels() -> None:
    image = np.zeros((64, 64, 1), np.uint8)
    image[3, 4] = 1
    pixels = image_of("binary", {"image": image})
    assert pixels.shape == (64, 64, 3)
    assert pixels.dtype == np.uint8
    assert pixels[3, 4].tolist() == [255, 255, 255]
    assert pixels.sum() == 3 * 255
    with pytest.raises(BadData, match="image holds 2, but a binary one holds 0 and 1"):
        image_of("binary", {"image": image * np.uint8(2)})


def test_of_smallnorbs_pair_the_left_image_is_taken_as_grey() -> None:
    left, right = (np.full((96, 96, 1), value, np.uint8) for value in (7, 9))
    pixels = image_of("image", {"image": left, "image2": right})
    assert pixels.shape == (96, 96)
    assert set(pixels.ravel()) == {7}


@pytest.mark.parametrize("image", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8)])
def test_what_is_no_uint8_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(BadData, match="not uint8"):
        image_of("image", {"image": image})


VALIDATION = ("validation", 0, 200)
CUTS = {
    "cifar": (("train", 45000, 45200), ("test", 0, 10000)),
    "caltech101": (("train", 2754, 2954), ("test", 0, 6084)),
    "dtd": (VALIDATION, ("test", 0, 1880)),
    "oxford_flowers102": (VALIDATION, ("test", 0, 6149)),
    "oxford_iiit_pet": (("train", 2944, 3144), ("test", 0, 3669)),
    "svhn": (("train", 65931, 66131), ("test", 0, 26032)),
    "sun397": (VALIDATION, ("test", 0, 21750)),
    "patch_camelyon": (VALIDATION, ("test", 0, 32768)),
    "eurosat": (("train", 16200, 16400), ("train", 21600, 27000)),
    "resisc45": (("train", 18900, 19100), ("train", 25200, 31500)),
    "diabetic_retinopathy": (VALIDATION, ("test", 0, 42670)),
    "clevr_count": (("train", 63000, 63200), ("validation", 0, 15000)),
    "clevr_dist": (("train", 63000, 63200), ("validation", 0, 15000)),
    "dmlab": (VALIDATION, ("test", 0, 22735)),
    "kitti": (VALIDATION, ("test", 0, 711)),
    "dsprites_loc": (("train", 589824, 590024), ("train", 663552, 737280)),
    "dsprites_ori": (("train", 589824, 590024), ("train", 663552, 737280)),
    "smallnorb_azi": (("test", 0, 200), ("test", 12150, 24300)),
    "smallnorb_ele": (("test", 0, 200), ("test", 12150, 24300)),
}


@pytest.mark.parametrize("name", CUTS)
def test_vtab_is_cut_by_position(name: str) -> None:
    entry = CATALOGUE[name]
    cut = slices_of(entry.cut, entry.tfds_sizes)
    places = {split: (piece.split, piece.start, piece.stop) for split, piece in cut.items()}
    assert places == {"train": ("train", 0, 800), "val": CUTS[name][0], "test": CUTS[name][1]}
    assert {split: len(piece) for split, piece in cut.items()} == entry.sizes


@pytest.mark.parametrize("entry", [entry for entry in CATALOGUE.values() if entry.cut], ids=lambda entry: entry.name)
def test_no_two_splits_of_a_set_share_an_image(entry: Any) -> None:
    cut = slices_of(entry.cut, entry.tfds_sizes)
    images = [(piece.split, index) for piece in cut.values() for index in range(piece.start, piece.stop)]
    assert len(set(images)) == len(images) == sum(entry.sizes.values())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("train", (0, 999)),
        ("train[:]", (0, 999)),
        ("train[:90%]", (0, 899)),
        ("train[90%:]", (899, 999)),
        ("train[60%:80%]", (599, 799)),
        ("train[5:7]", (5, 7)),
    ],
)
def test_a_share_of_a_split_is_rounded_down(text: str, place: tuple[int, int]) -> None:
    piece = slice_of(text, {"train": 999})
    assert (piece.start, piece.stop) == place


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("train[:800]", "train has 700 images: too few for"),
        ("test", r"no split test \(train\)"),
        ("train[700:]", "too few"),
    ],
)
def test_a_slice_that_is_not_there_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadData, match=says):
        slice_of(text, {"train": 700})
