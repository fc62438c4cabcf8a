"""The catalogue: every entry whole, VTAB-1k as its table says, what is found held against what an entry says."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lion_ray.cli.commands import main
from lion_ray.config import DataConfig, DatasetConfig, StudyError
from lion_ray.data import catalogue, find
from lion_ray.data.catalogue import CATALOGUE, CatalogueEntry
from lion_ray.data.catalogue.rules import IMAGES, LABELS
from lion_ray.data.item import BadData
from lion_ray.data.pool import ArrayPool, FoundSet, as_labels, read_only

ENTRIES = tuple(CATALOGUE.values())
BY_NAME = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)


@BY_NAME
def test_an_entry_can_be_named_in_a_study_and_says_all_that_it_must(entry: CatalogueEntry) -> None:
    assert DatasetConfig(name=entry.name).name == entry.name
    assert entry.num_classes >= 2
    assert entry.label_rule in LABELS
    assert entry.image_rule in IMAGES
    assert entry.licence
    assert entry.origin.homepage
    assert len(set(entry.classes)) == len(entry.classes)
    assert entry.sizes.keys() in ({"pool"}, {"train", "test"}, {"train", "val"}, {"train", "val", "test"})


def test_vtab_has_the_benchmarks_19_tasks_in_three_groups() -> None:
    groups = [entry.group for entry in ENTRIES if entry.suite == "vtab1k"]
    assert {name: groups.count(name) for name in groups} == {"natural": 7, "specialized": 4, "structured": 8}


def test_vtab_entries_are_those_of_the_table_that_is_shipped() -> None:
    table = files(catalogue).joinpath("vtab1k_tasks.csv").read_text()
    for row in csv.DictReader(table.splitlines()):
        entry = CATALOGUE[row["name"]]
        assert (entry.group, entry.num_classes) == (row["group"], int(row["num_classes"]))
        assert dict(entry.sizes) == {"train": 800, "val": 200, "test": int(row["num_test"])}
        assert str(entry.origin.tfds).endswith(row["tfds_version"])
    tests = [entry.sizes["test"] for entry in ENTRIES if entry.suite == "vtab1k"]
    assert sum(tests) == 387904


FOUND = {"train": [0, 1, 2], "test": [1, 2]}


def _entry(**fields: object) -> CatalogueEntry:
    known: dict[str, object] = {
        "name": "pets",
        "title": "Pets",
        "suite": "own",
        "num_classes": 3,
        "sizes": {"train": 3, "test": 2},
        "encoding": "png",
        "licence": "none",
        "origin": catalogue.DatasetOrigin(homepage="nowhere"),
    }
    return CatalogueEntry(**{**known, **fields})  # type: ignore[arg-type]


def _found(labels: Mapping[str, list[int]], classes: tuple[str, ...] = ("0", "1", "2")) -> FoundSet:
    pools = {
        split: ArrayPool(images=read_only(np.zeros((len(each), 2, 2), np.uint8)), labels=as_labels(each))
        for split, each in labels.items()
    }
    return FoundSet(classes=classes, pools=pools)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sizes": {"train": 3, "test": 5}}, "test has 2 images, but pets has 5"),
        ({"sizes": {"train": 2, "test": 2}}, "train has 3 images, but pets has 2"),
        ({"sizes": {"train": 3, "val": 1, "test": 2}}, "holds train 3, test 2, but pets has train 3, val 1, test 2"),
        ({"num_classes": 4}, "has 3 classes, but pets has 4"),
    ],
)
def test_wrong_counts_name_split_found_and_expected(fields: dict[str, object], says: str) -> None:
    with pytest.raises(BadData, match=re.escape(says)):
        _entry(**fields).checked(_found(FOUND))


def test_class_names_come_from_the_catalogue_where_the_source_has_numbers_only() -> None:
    entry = _entry(classes=("Down Coat", "cat", "dog"))
    assert entry.checked(_found(FOUND)).classes == entry.classes
    assert entry.checked(_found(FOUND, ("down_coat", "Cat", "dog"))).classes == entry.classes
    assert _entry().checked(_found(FOUND, ("a", "b", "c"))).classes == ("a", "b", "c")


def test_classes_in_another_order_are_refused() -> None:
    with pytest.raises(BadData, match="class 1 is 'dog', but in pets it is 'cat'"):
        _entry(classes=("bird", "cat", "dog")).checked(_found(FOUND, ("bird", "dog", "cat")))


@pytest.mark.parametrize(
    ("root", "says"),
    [
        (None, "is in no package: set data.root to where built sets lie, and build it with"),
        ("{}/sets/", "{}/sets/cifar holds nothing: build it with"),
    ],
)
def test_what_was_not_built_gives_the_command_that_builds_it(tmp_path: Path, root: str | None, says: str) -> None:
    where = DataConfig(root=root and root.format(tmp_path))
    with pytest.raises(StudyError) as caught:
        find(DatasetConfig(name="cifar"), where, source="my.yaml")
    place = f"{tmp_path}/sets" if root else "ROOT"
    assert str(caught.value).startswith(f"my.yaml: datasets.cifar: {says.format(tmp_path)}")
    assert f"`lion-ray data build cifar --from SOURCE --to {place}/cifar`" in str(caught.value)
    assert "TFDS cifar100:3.0.2" in str(caught.value)


def test_a_root_that_is_no_url_is_one_line() -> None:
    with pytest.raises(
        StudyError,
        match=r"datasets\.cifar: s3x://b/cifar, by data.root, cannot be read \(no filesystem is called s3x://",
    ):
        find(DatasetConfig(name="cifar"), DataConfig(root="s3x://b"))


def test_a_built_set_is_found_below_the_root_and_held_against_the_catalogue(tmp_path: Path) -> None:
    for split, number in (("train", 3), ("val", 2), ("test", 2)):
        for index in range(number):
            file = tmp_path / "kitti" / split / f"{index % 2}" / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (index, 0, 0)).save(file)
    with pytest.raises(StudyError, match=r"datasets\.kitti: train has 3 images, but kitti has 800"):
        find(DatasetConfig(name="kitti"), DataConfig(root=str(tmp_path)))


@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if entry.package], ids=lambda entry: entry.name)
def test_a_set_in_an_installed_package_is_what_its_entry_says(entry: CatalogueEntry) -> None:
    assert entry.package is not None
    try:
        version(entry.package.name)
    except PackageNotFoundError:
        pytest.skip(f"{entry.package.name} is not installed")
    source = find(DatasetConfig(name=entry.name))
    assert source.found.sizes == entry.sizes
    assert source.encoding == entry.encoding


def test_emoji_are_read_by_category_from_the_unpacked_npm_folder(tmp_path: Path) -> None:
    listed = [("a.png", "Flags"), ("b.png", "Component"), ("c.png", "Symbols"), ("d.png", "Flags")]
    (tmp_path / "emoji.json").write_text(json.dumps([{"image": image, "category": name} for image, name in listed]))
    for image, _ in listed:
        (tmp_path / "img/google/64" / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "img/google/64" / image)
    (tmp_path / "sheet.png").write_bytes(b"no emoji")
    source = find(DatasetConfig(name="emoji", url=str(tmp_path)))
    assert source.found.sizes == {"pool": 3}
    assert [source.classes[label] for label in source.found.pools["pool"].labels] == ["Flags", "Symbols", "Flags"]
    (tmp_path / "img/google/64/c.png").unlink()
    with pytest.raises(StudyError, match=r"emoji\.json names img/google/64/c.png, which is not there"):
        find(DatasetConfig(name="emoji", url=str(tmp_path)))


def test_data_list_prints_the_catalogue_as_a_table_and_as_json() -> None:
    lines = CliRunner().invoke(main, ["data", "list"]).output.splitlines()
    assert lines[0].split() == ["name", "group", "classes", "train", "val", "test", "pixels", "licence"]
    assert len(lines) == len(ENTRIES) + 1
    row = next(line for line in lines if line.startswith("smallnorb_azi "))
    assert row.split()[:8] == ["smallnorb_azi", "vtab1k", "structured", "18", "800", "200", "12150", "png"]
    entries = [json.loads(line) for line in CliRunner().invoke(main, ["data", "list", "--json"]).output.splitlines()]
    assert [entry["name"] for entry in entries] == list(CATALOGUE)
    assert next(e for e in entries if e["name"] == "svhn")["cut"] == {
        "train": "train[:800]",
        "val": "train[65931:66131]",
        "test": "test",
    }
