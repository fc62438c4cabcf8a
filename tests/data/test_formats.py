"""What an entry of `datasets` may say of its files: format, columns; and how much of it their names tell."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lion_ray.config import DatasetConfig, StudyError
from lion_ray.data import find
from tests.data.test_archive import FOLDER, packed
from tests.data.test_arrays import IMAGES as PIXELS
from tests.data.test_arrays import LABELS, npz
from tests.data.test_lists import IMAGES
from tests.data.test_parquet import rows, write
from tests.support.small_sets import look, png, put


@pytest.mark.parametrize(
    "paths",
    [
        ("default/train/0000.parquet", "default/validation/0000.parquet", "default/test/0000.parquet"),
        ("default/partial-train/0000.parquet", "default/partial-validation/0000.parquet", "default/test/0000.parquet"),
        tuple(f"data/{split}-00000-of-00001-8a3c0bd0f5f5b8a1.parquet" for split in ("train", "validation", "test")),
    ],
)
def test_shards_may_lie_as_the_hub_lays_them(tmp_path: Path, paths: tuple[str, ...]) -> None:
    for path, data in zip(paths, (rows(0, 6), rows(6, 3), rows(9, 3)), strict=True):
        write(f"{tmp_path}/{path}", data)
    found = look(str(tmp_path)).found
    assert {split: len(pool.labels) for split, pool in found.pools.items()} == {"train": 6, "val": 3, "test": 3}


def test_columns_may_have_other_names(tmp_path: Path) -> None:
    features = '{"info": {"features": {"fine_label": {"names": ["ant", "bee"]}}}}'
    for kind in ("struct", "plain"):
        images = [{"bytes": png(value)} if kind == "struct" else png(value) for value in range(6)]
        table = pa.table({"img": images, "fine_label": [0, 1] * 3, "coarse_label": [0] * 6})
        (tmp_path / kind).mkdir()
        pq.write_table(table.replace_schema_metadata({"huggingface": features}), tmp_path / kind / "all.parquet")
        source = look(f"{tmp_path}/{kind}", image_column="img", label_column="fine_label")
        assert source.classes == ("ant", "bee")
        assert len(source.decode(size=4).train) == 4
    with pytest.raises(StudyError, match=r"no column 'image' \(its columns: img, .*; give image_column"):
        look(f"{tmp_path}/plain")


def test_columns_are_refused_where_nobody_reads_them(tmp_path: Path) -> None:
    put(str(tmp_path), {"a/0.png": png(0)})
    with pytest.raises(StudyError, match=r"datasets\.mine: label_column: images have no columns to choose from"):
        look(str(tmp_path), label_column="x")
    with pytest.raises(StudyError, match=r"datasets\.mnist\.label_column: needs a url"):
        find(DatasetConfig(name="mnist", label_column="x"), source="my.yaml")


def test_a_format_that_nobody_knows_is_told_with_those_that_there_are(tmp_path: Path) -> None:
    allowed = "csv, folder, npz, parquet, tfds, vtab, webdataset"
    with pytest.raises(StudyError, match=rf"datasets\.mine\.format: 'parket' .* mean 'parquet'\? Allowed: {allowed}"):
        look(str(tmp_path), format="parket")


def test_labels_from_one_are_refused_unless_the_classes_are_named(tmp_path: Path) -> None:
    data = [(png(value), 1 + value % 3) for value in range(9)]
    write(f"{tmp_path}/all.parquet", data)
    with pytest.raises(StudyError, match="no image has label 0 while the largest is 3: labels count from 0; name the"):
        look(str(tmp_path))
    write(f"{tmp_path}/all.parquet", data, names="abcd")
    assert look(str(tmp_path)).classes == ("a", "b", "c", "d")


@pytest.mark.parametrize("url", ["set.csv", "./set.zip", "zip://::set.zip", "set.npz", "all.parquet", "folder"])
def test_a_relative_path_means_the_same_after_a_change_of_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """Ray's workers have a working directory of their own."""
    listed = "path,label\n" + "".join(f"images/no {value}.png,{value % 2}\n" for value in range(8))
    put(str(tmp_path), {**IMAGES, **{f"folder/{path}": payload for path, payload in FOLDER.items()}, "set.csv": listed})
    put(str(tmp_path), {"set.zip": packed(FOLDER), "set.npz": npz(images=PIXELS, labels=LABELS)})
    write(f"{tmp_path}/all.parquet", rows(0, 9))
    monkeypatch.chdir(tmp_path)
    source = look(url)
    monkeypatch.chdir("/")
    assert source.decode(size=4)
