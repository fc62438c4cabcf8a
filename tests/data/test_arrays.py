"""NumPy archives: the usual names of arrays, uint8 images, integer labels, and never a pickle."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lion_ray.data.readers import arrays
from tests.support.small_sets import fault, look, put, reds

IMAGES = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


def npz(**content: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **content)
    return file.getvalue()


def split(names: str) -> dict[str, Any]:
    """`x_train y_train ...` → arrays of 6, 3 and 3 images."""
    parts = (slice(0, 6), slice(0, 6), slice(6, 9), slice(6, 9), slice(9, 12), slice(9, 12))
    wholes: list[Any] = 3 * [IMAGES, LABELS]
    return {name: array[part] for name, array, part in zip(names.split(), wholes, parts, strict=True)}


@pytest.mark.parametrize(
    "names",
    [
        "x_train y_train x_val y_val x_test y_test",
        "train_images train_labels val_images val_labels test_images test_labels",
    ],
)
def test_arrays_name_their_split(tmp_path: Path, names: str) -> None:
    source = look(put(str(tmp_path), {"set.npz": npz(**split(names))}))
    assert reds(source) == {"train": [*range(6)], "val": [6, 7, 8], "test": [9, 10, 11]}
    assert (source.classes, source.encoding) == (("0", "1", "2"), "raw")


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., 0], IMAGES[..., :1]])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:, None].astype(np.uint8)])
def test_images_and_labels_are_a_pool(tmp_path: Path, images: Any, labels: Any) -> None:
    put(str(tmp_path), {"set.npz": npz(images=images, labels=labels)})
    source = look(f"{tmp_path}/set.npz")
    assert sorted(value for values in reds(source).values() for value in values) == [*range(12)]
    assert source.found.pools["pool"].labels.tolist() == LABELS.tolist()


BAD = [
    ({"images": IMAGES}, "set.npz: has no array 'labels' (its arrays: images)"),
    ({"a": IMAGES}, "set.npz: has no array 'images' (its arrays: a)"),
    ({"x_test": IMAGES, "y_test": LABELS}, "there is test but no train split"),
    ({"x_train": IMAGES}, "set.npz: has no array 'y_train' (its arrays: x_train)"),
    ({"images": IMAGES, "labels": LABELS[:-1]}, "set.npz: images and labels: 12 images do not go with 11 labels"),
    ({"images": IMAGES / 255, "labels": LABELS}, "set.npz: images is float64 (12, 4, 4, 3), not uint8 (N, H, W)"),
    ({"images": IMAGES[:, 0, 0], "labels": LABELS}, "set.npz: images is uint8 (12, 3), not uint8 (N, H, W)"),
    ({"images": IMAGES, "labels": LABELS / 2}, "set.npz: labels is float64 (12,), not integers (N,)"),
    ({"images": IMAGES, "labels": LABELS - 1}, "set.npz: labels: row 0: label -1 is outside 0..2147483647"),
    ({"images": IMAGES, "labels": LABELS + 1}, "no image has label 0 while the largest is 3: labels count from 0"),
    ({"images": IMAGES[:0], "labels": LABELS[:0]}, "pool has no rows"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_wrong_arrays_are_told_by_name(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    put(str(tmp_path), {"set.npz": npz(**content)})
    assert fault(str(tmp_path)).startswith(message)


class Evil:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("owned",))


def test_a_pickle_is_never_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects = np.empty(12, dtype=object)
    objects[:] = [Evil()] * 12
    pickled = io.BytesIO()
    with zipfile.ZipFile(pickled, "w") as zipped:
        for name in ("images", "labels"):
            zipped.writestr(f"{name}.npy", pickle.dumps(Evil()))
    for payload, message in (
        (npz(images=objects, labels=LABELS), "cannot be read as .npz (Object arrays cannot be loaded"),
        (pickled.getvalue(), "images is no array of NumPy"),
        (pickle.dumps(Evil()), "cannot be read as .npz ("),
    ):
        put(str(tmp_path), {"set.npz": payload})
        assert fault(str(tmp_path)).startswith(f"set.npz: {message}")
    assert capsys.readouterr().out == ""


def test_what_would_not_fit_or_is_cut_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = npz(images=IMAGES, labels=LABELS)
    put(str(tmp_path), {"set.npz": payload[:-40]})
    assert fault(str(tmp_path)).startswith("set.npz: cannot be read as .npz (")
    put(str(tmp_path), {"set.npz": payload})
    monkeypatch.setattr(arrays, "MAX_BYTES", 500)
    assert fault(str(tmp_path)) == "set.npz: unpacks to 928 bytes, and the limit is 500; store it as Parquet"


def test_an_array_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 2**10, 3)})
    lie = io.BytesIO()
    with zipfile.ZipFile(lie, "w") as zipped:
        zipped.writestr("images.npy", header.getvalue() + b"\0" * 100)
        zipped.writestr("labels.npy", b"")
    put(str(tmp_path), {"set.npz": lie.getvalue()})
    assert fault(str(tmp_path)).startswith("set.npz: cannot be read as .npz (")
