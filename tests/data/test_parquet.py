"""Parquet at any URL: splits by name, content digests, and one clear line for every kind of bad row."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lion_ray.config import DatasetConfig, StudyError
from lion_ray.data import Source, find
from lion_ray.store import write_url

Rows = Sequence[tuple[bytes | None, int | None]]


def png(value: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 5), (value, 2 * value % 256, 7)).save(file, "png")
    return file.getvalue()


def rows(first: int, num: int, num_classes: int = 3) -> Rows:
    return [(png(first + index), index % num_classes) for index in range(num)]


def write(url: str, data: Rows, *, names: Sequence[str] | None = None, group: int = 4, plain: bool = False) -> None:
    images: list[Any] = [image if plain else {"bytes": image, "path": "x.png"} for image, _ in data]
    kind = pa.binary() if plain else pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(images, kind), "label": pa.array([label for _, label in data], pa.int64())})
    if names is not None:
        features = {"label": {"names": list(names), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=group)
    write_url(url, file.getvalue())


def write_set(root: str, **options: Any) -> None:
    write(f"{root}/data/train-00000-of-00002.parquet", rows(0, 10), **options)
    write(f"{root}/data/train-00001-of-00002.parquet", rows(10, 6), **options)
    write(f"{root}/data/validation-00000-of-00001.parquet", rows(16, 5), **options)
    write(f"{root}/data/test-00000-of-00001.parquet", rows(21, 7), **options)


def look(url: str, **options: Any) -> Source:
    return find(DatasetConfig(name="mine", url=url, **options), source="my.yaml")


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("group", [4, 100])
def test_shards_become_splits_in_their_own_order(tmp_path: Path, plain: bool, group: int) -> None:
    write_set(f"{tmp_path}/set", plain=plain, group=group)
    source = look(f"{tmp_path}/set")
    data = source.decode(size=4)
    assert (len(data.train), len(data.val), len(data.test)) == (16, 5, 7)
    assert data.train.images[:, 0, 0, 0].tolist() == list(range(16))
    assert data.test.images[:, 0, 0, 0].tolist() == list(range(21, 28))
    assert data.train.labels.tolist() == [i % 3 for i in range(10)] + [i % 3 for i in range(6)]
    assert (source.classes, source.encoding) == (("0", "1", "2"), "png")


def test_a_subset_keeps_image_and_label_together(tmp_path: Path) -> None:
    write_set(f"{tmp_path}/set")
    source = look(f"{tmp_path}/set", num_train=7, num_val=2)
    data, order = source.decode(size=4), source.parts["train"].indices("mine", 16)
    assert data.train.images[:, 0, 0, 0].tolist() == order.tolist()
    labels = source.found.pools["train"].labels
    assert data.train.labels.tolist() == labels[order].tolist()
    assert (len(data.val), len(data.test)) == (2, 7)


def test_an_identity_knows_neither_place_nor_shards(tmp_path: Path) -> None:
    write_set(f"{tmp_path}/one", group=4)
    shutil.copytree(tmp_path / "one", tmp_path / "elsewhere" / "two")
    write_set("memory://data-parquet/three", group=100)
    write(f"{tmp_path}/four/train/0.parquet", [*rows(0, 10), *rows(10, 6)])
    write(f"{tmp_path}/four/val/0.parquet", rows(16, 5))
    write(f"{tmp_path}/four/test.parquet", rows(21, 7))
    urls = [f"{tmp_path}/one", f"file://{tmp_path}/elsewhere/two/", "memory://data-parquet/three", f"{tmp_path}/four"]
    first, *others = [look(url).identity() for url in urls]
    assert all(other == first for other in others)
    assert first["splits"]["train"] == {"pool": "train", "first": 0, "num": 16, "order": None}


def test_one_byte_or_one_label_changes_the_digest(tmp_path: Path) -> None:
    image, label = rows(0, 1)[0]
    assert image is not None
    digests = set()
    for number, first in enumerate([(image, label), (image[:-1] + b"\0", label), (image, 1)]):
        write(f"{tmp_path}/{number}/pool.parquet", [first, *rows(1, 9)])
        digests.add(look(f"{tmp_path}/{number}").identity()["digest"])
    assert len(digests) == 3


@pytest.mark.parametrize(("num_train", "same"), [(None, True), (5, False)])
def test_the_name_enters_an_identity_only_where_it_makes_an_order(
    tmp_path: Path, num_train: int | None, same: bool
) -> None:
    write_set(f"{tmp_path}")
    one, two = (find(DatasetConfig(name=n, url=str(tmp_path), num_train=num_train)).identity() for n in ("a", "b"))
    assert (one == two) is same


def test_one_file_is_a_pool(tmp_path: Path) -> None:
    write(f"{tmp_path}/everything.parquet", rows(0, 20))
    for url in (f"{tmp_path}/everything.parquet", str(tmp_path)):
        data = look(url).decode(size=4)
        assert (len(data.train), len(data.val), len(data.test)) == (12, 4, 4)


BAD_ROWS: list[tuple[tuple[bytes | None, int | None], str]] = [
    ((png(3), None), "train-0.parquet: row 5: label is null"),
    ((png(3), -1), "train-0.parquet: row 5: label -1 is outside 0..3"),
    ((png(3), 4), "train-0.parquet: row 5: label 4 is outside 0..3"),
    ((None, 1), "train-0.parquet: row 5: image is null"),
    ((png(3)[:50], 1), "train-0.parquet: row 5: the image cannot be decoded"),
    ((b"GIF87a nonsense", 1), "train-0.parquet: row 5: the image cannot be decoded"),
    ((b"", 1), "train-0.parquet: row 5: the image cannot be decoded"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_a_bad_row_is_named(tmp_path: Path, row: tuple[bytes | None, int | None], message: str) -> None:
    write(f"{tmp_path}/train-0.parquet", [*rows(0, 5), row, *rows(6, 4)], names="abcd")
    write(f"{tmp_path}/test-0.parquet", rows(10, 4), names="abcd")
    with pytest.raises(StudyError) as caught:
        look(str(tmp_path)).decode(size=4)
    assert str(caught.value).startswith(f"my.yaml: datasets.mine: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_or_wrong_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train-0.parquet"
    for table, message in (
        ({"img": [b"x"], "label": [1]}, r"no column 'image' \(its columns: img, label\)"),
        ({"image": [b"x"], "fine": [1]}, "no column 'label'"),
        ({"image": [b"x"], "label": ["cat"]}, "'label' is string, not an integer"),
        ({"image": ["x.png"], "label": [1]}, "'image' is string, not binary"),
        ({"image": [{"path": "x.png"}], "label": [1]}, "'image' is struct"),
    ):
        pq.write_table(pa.table(table), path)
        with pytest.raises(StudyError, match=rf"train-0\.parquet: .*{message}"):
            look(str(tmp_path))


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    write(f"{tmp_path}/train-0.parquet", rows(0, 5))
    write(f"{tmp_path}/test-0.parquet", [])
    with pytest.raises(StudyError, match=r"test-0\.parquet: test has no rows"):
        look(str(tmp_path))


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    (tmp_path / "train-0.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(StudyError, match=r"train-0\.parquet: cannot be read as Parquet"):
        look(str(tmp_path))


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        (["train-0.parquet", "more.parquet"], "more.parquet belongs to no split"),
        (["test-0.parquet"], "there is test but no train split"),
        (["a/train-0.parquet", "b/train-0.parquet"], "several sets lie in a, b"),
        (["train-0.parquet", "x.png"], "Parquet shards and images; give the format"),
        (["readme.md"], "nothing that is known: Parquet shards, images, "),
    ],
)
def test_an_unclear_tree_is_refused(tmp_path: Path, paths: list[str], message: str) -> None:
    for path in paths:
        write(f"{tmp_path}/{path}", rows(0, 5))
    with pytest.raises(StudyError, match=message):
        look(str(tmp_path))


def test_shards_that_disagree_on_names_are_refused(tmp_path: Path) -> None:
    write(f"{tmp_path}/train-0.parquet", rows(0, 5), names=["a", "b", "c"])
    write(f"{tmp_path}/train-1.parquet", rows(0, 5), names=["a", "c", "b"])
    with pytest.raises(StudyError, match=r"train-1\.parquet: its class names differ from those of train-0\.parquet"):
        look(str(tmp_path))


def test_items_come_back_the_same_however_the_rows_are_chosen(tmp_path: Path) -> None:
    write_set(f"{tmp_path}")
    pool = look(str(tmp_path)).found.pools["train"]
    everything = {item.index: item.read() for item in pool.items(range(16))}
    for indices in ([0], [15], [3, 4, 9, 10], np.arange(1, 16, 2).tolist()):
        assert {item.index: item.read() for item in pool.items(indices)} == {i: everything[i] for i in indices}
