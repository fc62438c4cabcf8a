"""`on_bad_image: skip`: bad images are as if they had never been there; how many and which came first is said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from lion_ray.config import DataConfig, DatasetConfig, StudyError, load
from lion_ray.data import find
from lion_ray.data.readers import DataWarning
from lion_ray.experiments import expand
from tests.data.test_parquet import write
from tests.support.small_sets import BROKEN, fault, look, png, put, reds

CLEAN: Mapping[str, bytes | str] = {
    f"{split}/{name}/{10 * place + value}.png": png(10 * place + value)
    for place, (split, name) in enumerate((split, name) for split in ("train", "val", "test") for name in "ab")
    for value in range(3)
}
BAD = {"train/a/1x.png": BROKEN, "train/b/0.png": b"", "test/b/99.png": png(9)[:40]}


def test_what_is_left_is_the_set_without_the_bad_images(tmp_path: Path) -> None:
    clean = look(put(f"{tmp_path}/clean", CLEAN))
    put(f"{tmp_path}/bad", {**CLEAN, **BAD})
    with pytest.warns(DataWarning) as warned:
        source = look(f"{tmp_path}/bad", on_bad_image="skip")
    assert [str(each.message).partition(" (")[0] for each in warned] == [
        "datasets.mine: skipped 1 of 7 images of test that cannot be decoded; first "
        "test/b/99.png: the image cannot be decoded",
        "datasets.mine: skipped 2 of 8 images of train that cannot be decoded; first "
        "train/a/1x.png: the image cannot be decoded",
    ]
    assert reds(source) == reds(clean)
    assert source.found.pools["train"].labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.identity() == {**clean.identity(), "skipped": {"test": 1, "train": 2}}


def test_by_default_the_first_bad_image_is_an_error(tmp_path: Path) -> None:
    put(str(tmp_path), {**CLEAN, **BAD})
    assert fault(str(tmp_path)).startswith("train/a/1x.png: the image cannot be decoded")


def test_a_set_without_bad_images_is_the_same_with_skip(tmp_path: Path) -> None:
    put(str(tmp_path), CLEAN)
    assert look(str(tmp_path), on_bad_image="skip").identity() == look(str(tmp_path)).identity()


def test_which_images_are_skipped_changes_the_identity(tmp_path: Path) -> None:
    digests = set()
    for name in ("0", "1"):
        put(f"{tmp_path}/{name}", {**CLEAN, f"train/a/{name}.png": BROKEN})
        with pytest.warns(DataWarning, match=f"skipped 1 of 6 images of train .*; first train/a/{name}.png"):
            digests.add(json.dumps(look(f"{tmp_path}/{name}", on_bad_image="skip").identity()))
    assert len(digests) == 2


def test_null_images_of_parquet_are_skipped_and_counts_hold(tmp_path: Path) -> None:
    rows = [(None if value in (3, 9) else png(value), value % 2) for value in range(12)]
    write(f"{tmp_path}/all.parquet", rows)
    with pytest.warns(DataWarning, match=r"skipped 2 of 12 .*; first all\.parquet: row 3: image is null"):
        source = look(str(tmp_path), on_bad_image="skip", num_train=6, num_val=2, num_test=2)
    kept = sorted(value for values in reds(source).values() for value in values)
    assert kept == [value for value in range(12) if value not in (3, 9)]


def test_a_pool_with_nothing_left_is_an_error(tmp_path: Path) -> None:
    put(str(tmp_path), {path: BROKEN if "val" in path else payload for path, payload in CLEAN.items()})
    told = fault(str(tmp_path), on_bad_image="skip")
    assert told.startswith("none of the 6 images of val can be decoded; first val/a/20.png: ")


def test_a_file_that_cannot_be_read_is_never_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage would otherwise change the data."""
    from lion_ray.data.files import UrlFile

    def refused(file: UrlFile) -> bytes:
        raise OSError(5, "no answer")

    put(str(tmp_path), CLEAN)
    monkeypatch.setattr(UrlFile, "read", refused)
    assert fault(str(tmp_path), on_bad_image="skip") == "test/a/40.png: cannot be read (no answer)"


def test_an_experiment_holds_what_was_skipped(tmp_path: Path, study_file: Path) -> None:
    put(f"{tmp_path}/set", {**CLEAN, **BAD})
    where = f"datasets=[{{name: mine, url: {tmp_path}/set}}]"
    with pytest.raises(StudyError, match=r"train/a/1x\.png"):
        find(DatasetConfig(name="mine", url=f"{tmp_path}/set"), DataConfig()).decode(size=4)
    with pytest.warns(DataWarning, match="skipped"):
        experiments = expand(load(study_file, [where, "data.on_bad_image=skip"]))
    assert '"skipped": {"test": 1, "train": 2}' in json.dumps(experiments[0].identity)
    with pytest.raises(StudyError, match=r"data\.on_bad_image: 'drop' is not allowed; .*Allowed: error, skip"):
        load(study_file, ["data.on_bad_image=drop"])
