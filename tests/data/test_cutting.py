"""TFDS's records as a task of the catalogue: labels by its rule, splits by position."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from lion_ray.data.catalogue import CATALOGUE, cutting
from lion_ray.data.catalogue.cutting import read_cut
from lion_ray.data.item import BadData
from lion_ray.data.pool import Pool
from lion_ray.data.readers import tfds
from lion_ray.data.readers.listing import listing
from tests.data.test_tfds import PREPARED

TASK = dataclasses.replace(
    CATALOGUE["cifar"],
    num_classes=3,
    classes=(),
    cut={"train": "train[:3]", "val": "train[4:6]", "test": "test"},
)


def pixels(pool: Pool) -> list[np.ndarray]:
    payloads = (item.read() for item in pool.items(range(len(pool.labels))))
    return [np.asarray(Image.open(io.BytesIO(payload))) for payload in payloads if isinstance(payload, bytes)]


def test_splits_are_slices_of_tfds_own_in_its_order() -> None:
    files = listing(str(PREPARED))
    whole = tfds.labelled(files, lambda record: int(record["label"]))
    found = read_cut(files, TASK)
    assert list(found.pools) == ["train", "val", "test"]
    assert found.pools["train"].labels.tolist() == list(whole["train"].labels[:3])
    assert found.pools["val"].labels.tolist() == list(whole["train"].labels[4:6])
    first = next(iter(found.pools["val"].items([0]))).read()
    assert first == whole["train"].images[4].read()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """A record's image."""

    pixels: np.ndarray
    where: str = "x: record 0"

    def read(self) -> bytes:
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "png")
        return file.getvalue()


def test_binary_images_become_black_and_white() -> None:
    stored = np.arange(4, dtype=np.uint8).reshape(2, 2) % 2
    made = cutting._ConvertedImage(image=Stored(pixels=stored), rule="binary").read()  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(made))), np.stack([stored * 255] * 3, axis=2))
    with pytest.raises(BadData, match="image holds"):
        pixels(read_cut(listing(str(PREPARED)), dataclasses.replace(TASK, image_rule="binary")).pools["train"])


def test_a_slice_beyond_what_was_prepared_is_refused() -> None:
    with pytest.raises(BadData, match="too few for train"):
        read_cut(listing(str(PREPARED)), dataclasses.replace(TASK, cut={"train": "train[:800]"}))
