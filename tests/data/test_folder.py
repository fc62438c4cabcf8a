"""Image folders at any URL: classes by folder, splits by folder, digests by content, bad trees refused."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lion_ray.config import DatasetConfig, StudyError
from lion_ray.data import Source, find
from lion_ray.data.files import UrlFile
from lion_ray.data.readers import listing
from lion_ray.store import write_url

SPLITS = {"train": 6, "validation": 2, "test": 3}
CLASSES = ("ant", "bee cell", "cat#1")


def encoded(value: int, kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5, 6), (value, 0, 9)).save(file, kind)
    return file.getvalue()


def put(url: str, payload: bytes) -> None:
    write_url(url, payload)


def write_set(root: str) -> None:
    value = 0
    for split, num in SPLITS.items():
        for name in CLASSES:
            for index in range(num):
                put(f"{root}/{split}/{name}/{index}.png", encoded(value))
                value += 1


def look(url: str, **options: Any) -> Source:
    return find(DatasetConfig(name="mine", url=url, **options), source="my.yaml")


@pytest.mark.parametrize("where", ["local", "file", "memory"])
def test_folders_become_splits_and_classes(tmp_path: Path, where: str) -> None:
    root = {"local": f"{tmp_path}/s", "file": f"file://{tmp_path}/s", "memory": "memory://data-folder/s"}[where]
    write_set(root if where == "memory" else f"{tmp_path}/s")
    source = look(root)
    data = source.decode(size=4)
    assert (source.classes, source.encoding) == (CLASSES, "png")
    assert data.train.images[:, 0, 0, 0].tolist() == list(range(18))
    assert data.train.labels.tolist() == [0] * 6 + [1] * 6 + [2] * 6
    assert (len(data.val), len(data.test)) == (6, 9)


def test_folders_without_splits_are_a_pool(tmp_path: Path) -> None:
    for name in CLASSES:
        for index in range(10):
            put(f"{tmp_path}/{name}/{index}.png", encoded(index))
    put(f"{tmp_path}/README.md", b"words")
    put(f"{tmp_path}/.DS_Store", b"dirt")
    data = look(str(tmp_path), num_train=20, num_val=5).decode(size=4)
    assert (len(data.train), len(data.val), len(data.test)) == (20, 5, 5)


def test_an_identity_knows_no_place_and_every_byte(tmp_path: Path) -> None:
    write_set(f"{tmp_path}/one")
    shutil.copytree(tmp_path / "one", tmp_path / "train" / "two")
    first = look(f"{tmp_path}/one").identity()
    assert look(f"{tmp_path}/train/two").identity() == first
    target = tmp_path / "train" / "two" / "test" / "ant" / "0.png"
    target.write_bytes(target.read_bytes() + b"\0")
    assert look(f"{tmp_path}/train/two").identity()["digest"] != first["digest"]


def test_moving_an_image_to_another_class_changes_the_digest(tmp_path: Path) -> None:
    write_set(f"{tmp_path}/one")
    first = look(f"{tmp_path}/one").identity()["digest"]
    (tmp_path / "one/train/ant/5.png").rename(tmp_path / "one/train/bee cell/!.png")
    assert look(f"{tmp_path}/one").identity()["digest"] != first


def test_a_folder_and_the_same_rows_as_parquet_are_one_set(tmp_path: Path) -> None:
    """So converting a set loses no finished experiment."""
    write_set(f"{tmp_path}/folder")
    source = look(f"{tmp_path}/folder")
    names = '{"info": {"features": {"label": {"names": ["ant", "bee cell", "cat#1"]}}}}'
    (tmp_path / "parquet").mkdir()
    for split, pool in source.found.pools.items():
        images = [{"bytes": item.read()} for item in pool.items(range(len(pool.labels)))]
        table = pa.table({"image": images, "label": pool.labels}).replace_schema_metadata({"huggingface": names})
        pq.write_table(table, tmp_path / "parquet" / f"{split}-0.parquet")
    assert look(f"{tmp_path}/parquet").classes == CLASSES  # the names from the schema
    assert look(f"{tmp_path}/parquet").identity() == source.identity()


def test_the_encoding_is_read_from_the_bytes_not_the_name(tmp_path: Path) -> None:
    for index, kind in enumerate(["png", "jpeg", "png", "png", "png"]):
        put(f"{tmp_path}/ant/{index}.png", encoded(index, kind))
    assert look(str(tmp_path)).encoding == "mixed"
    put(f"{tmp_path}/ant/1.png", encoded(1))
    assert look(str(tmp_path)).encoding == "png"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("train/loose.png", "train/loose.png lies in no class's folder: train/<class>/<image> is expected"),
        ("train/ant/deep/0.png", "train/ant/deep/0.png is not train/<class>/<image>"),
        ("train/ant/0.heic", "train/ant/0.heic is not train/<class>/<image>"),
        ("extra/ant/0.png", "extra/ant/0.png belongs to no split"),
        ("test/dgo/0.png", "test/dgo/0.png: class 'dgo' of test has no image in train"),
    ],
)
def test_a_file_out_of_place_is_named(tmp_path: Path, path: str, message: str) -> None:
    write_set(str(tmp_path))
    put(f"{tmp_path}/{path}", encoded(0))
    with pytest.raises(StudyError) as caught:
        look(str(tmp_path))
    assert str(caught.value).startswith(f"my.yaml: datasets.mine: {message}")


def test_notes_beside_the_images_are_counted_as_not_used(tmp_path: Path) -> None:
    write_set(str(tmp_path))
    (tmp_path / "train" / "ant" / "notes.txt").write_text("seen on Monday")
    notes = look(str(tmp_path)).notes
    assert [note for note in notes if note.startswith("not used: 1 file (train/ant/notes.txt)")], notes


def test_a_folder_that_does_not_exist_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="photo does not exist"):
        look(str(tmp_path / "photo"))


def test_a_truncated_or_vanished_image_is_named(tmp_path: Path) -> None:
    write_set(str(tmp_path))
    source = look(str(tmp_path))
    target = tmp_path / "validation" / "ant" / "1.png"
    target.write_bytes(target.read_bytes()[:50])
    with pytest.raises(
        StudyError, match=r"my\.yaml: datasets\.mine: validation/ant/1\.png: the image cannot be decoded"
    ):
        source.decode(size=4)
    target.unlink()
    with pytest.raises(StudyError, match=r"validation/ant/1\.png: cannot be read"):
        source.decode(size=4)


def test_the_format_may_be_given(tmp_path: Path) -> None:
    write_set(str(tmp_path))
    pq.write_table(pa.table({"x": [1]}), tmp_path / "list.parquet")
    assert look(str(tmp_path), format="folder").classes == CLASSES
    with pytest.raises(StudyError, match="no column 'image'"):
        look(str(tmp_path), format="parquet")


def test_a_format_that_finds_nothing_is_refused(tmp_path: Path) -> None:
    write_set(str(tmp_path))
    with pytest.raises(StudyError, match="there are no Parquet shards"):
        look(str(tmp_path), format="parquet")


@pytest.mark.parametrize(
    ("root", "found"),
    [
        ("s3://bucket", "s3://bucket/train/ant/0.png"),
        ("s3://bucket/sets/train/", "s3://bucket/sets/train/train/ant/0.png"),
        ("memory://x/y", "memory:///x/y/train/ant/0.png"),
        ("https://host/x", "https://host/x/train/ant/0.png"),
        ("abfs://box@account.example/x", "abfs://box/x/train/ant/0.png"),
        ("file:///a/b/", "file:///a/b/train/ant/0.png"),
    ],
)
def test_paths_are_relative_however_a_backend_spells_its_urls(
    monkeypatch: pytest.MonkeyPatch, root: str, found: str
) -> None:
    monkeypatch.setattr(listing, "find_files", lambda url: [found])
    assert listing.listing(root) == {"train/ant/0.png": UrlFile(url=found)}


@pytest.mark.parametrize("url", ["/no/such/folder", "memory://no-such", "nosuch://x/y", "/no/such/file.parquet"])
def test_a_url_that_cannot_be_read_is_named(url: str) -> None:
    with pytest.raises(StudyError, match=r"my\.yaml: datasets\.mine: .*(cannot be read|holds no files|does not exist)"):
        look(url)
