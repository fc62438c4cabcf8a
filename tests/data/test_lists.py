"""VTAB trees and CSV lists: labels without opening an image, splits as listed, and one line for every wrong row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from lion_ray.data.files import UrlFile
from lion_ray.data.readers import DataWarning
from tests.support.small_sets import BROKEN, fault, look, png, put, reds

IMAGES = {f"images/no {value}.png": png(value) for value in range(8)}
VTAB: Mapping[str, bytes | str] = {
    **IMAGES,
    "train800.txt": "images/no 3.png 1\nimages/no 0.png 0\nimages/no 1.png 2\n",
    "val200.txt": "images/no 4.png 1\r\n\r\nimages/no 5.png 0",
    "test.txt": "images/no 7.png 0\nimages/no 6.png 2\n",
    "train800val200.txt": "".join(
        f"images/no {value}.png {label}\n" for value, label in zip("30145", "10210", strict=True)
    ),
}
CSV: Mapping[str, bytes | str] = {
    **IMAGES,
    "train.csv": "path,label\nimages/no 3.png,bee\nimages/no 0.png,ant\n",
    "val.csv": "label, path\nbee,images/no 4.png\n",
    "test.csv": '\ufefflabel,extra,path\nant,"a, b",./images/no 7.png\n',
}


def test_a_vtab_tree_is_read_in_the_order_of_its_lists(tmp_path: Path) -> None:
    source = look(put(str(tmp_path), VTAB))
    assert reds(source) == {"train": [3, 0, 1], "val": [4, 5], "test": [7, 6]}
    assert source.found.pools["train"].labels.tolist() == [1, 0, 2]
    assert (source.classes, source.encoding) == (("0", "1", "2"), "png")


def test_csv_lists_name_their_split_and_their_classes(tmp_path: Path) -> None:
    source = look(put(str(tmp_path), CSV))
    assert reds(source) == {"train": [3, 0], "val": [4], "test": [7]}
    assert source.found.pools["train"].labels.tolist() == [1, 0]
    assert source.classes == ("ant", "bee")


@pytest.mark.parametrize("name", ["", "/list.csv"])
def test_one_csv_list_may_hold_the_splits(tmp_path: Path, name: str) -> None:
    rows = "file,y,split\nimages/no 1.png,1,train\nimages/no 2.png,0,validation\nimages/no 0.png,0,train\n"
    put(str(tmp_path), {**IMAGES, "list.csv": rows + "images/no 3.png,1,test\n"})
    source = look(f"{tmp_path}{name}", image_column="file", label_column="y")
    assert reds(source) == {"train": [1, 0], "val": [2], "test": [3]}


def test_one_csv_list_of_several_is_read_alone_and_is_a_pool(tmp_path: Path) -> None:
    rows = "".join(f"images/no {value}.png,{value % 2}\n" for value in range(8))
    put(str(tmp_path), {**IMAGES, "a.csv": f"path,label\n{rows}", "b.csv": "nonsense"})
    assert sum(len(values) for values in reds(look(f"{tmp_path}/a.csv")).values()) == 8
    assert fault(str(tmp_path)) == "there are several lists (a.csv, b.csv); give the URL of one of them"


@pytest.mark.parametrize("files", [VTAB, CSV])
def test_labels_are_read_without_opening_an_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: Mapping[str, bytes | str]
) -> None:
    opened, read = list[str](), UrlFile.read

    def watched(file: UrlFile) -> bytes:
        opened.append(file.url)
        return read(file)

    monkeypatch.setattr(UrlFile, "read", watched)
    look(put(str(tmp_path), files))
    assert opened
    assert not [url for url in opened if url.endswith(".png")]


def test_classes_txt_declares_names_and_how_many_there_are(tmp_path: Path) -> None:
    source = look(put(str(tmp_path), {**VTAB, "classes.txt": "ant\nbee\ncat\ndog\n"}))
    assert source.classes == ("ant", "bee", "cat", "dog")  # no image of the last one is needed
    source = look(put(str(tmp_path / "csv"), {**CSV, "classes.txt": "bee\nant\n"}))
    assert source.found.pools["train"].labels.tolist() == [0, 1]


BAD_VTAB = [
    ({"val200.txt": None}, "there is no val200.txt; a VTAB-1k tree has train800.txt, val200.txt, test.txt"),
    ({"test.txt": "\n"}, "test.txt: has no rows"),
    ({"test.txt": b"\xff 0"}, "test.txt: is not UTF-8 text (invalid start byte at byte 0)"),
    ({"test.txt": "images/x.png"}, "test.txt: line 1: 'images/x.png' is not 'path label'"),
    ({"test.txt": "images/x.png 0"}, "test.txt: line 1: there is no file images/x.png"),
    ({"test.txt": "images/no 7.png -1"}, "test.txt: line 1: label -1 is outside 0..2147483647"),
    ({"test.txt": "images/no 7.png 1.0"}, "test.txt: line 1: label '1.0' is no integer while others are"),
    ({"test.txt": "images/no 7.png 9"}, "no image has label 3 while the largest is 9: labels count from 0; name the"),
    ({"test.txt": "images/no 7.png 3", "classes.txt": "a\nb\nc"}, "test.txt: line 1: label 3 is outside 0..2"),
    ({"classes.txt": "a\nb\na"}, "classes.txt: names 'a' twice"),
    ({"classes.txt": "\n"}, "classes.txt: names no class"),
    (
        {"test.txt": "images/no 7.png 0\nimages/no 3.png 1"},
        "test.txt: line 2: images/no 3.png of test is in train too (train800.txt: line 1)",
    ),
    (
        {"test.txt": "images/no 7.png 0\nimages/no 7.png 2"},
        "test.txt: line 2: images/no 7.png has label '2', but '0' in test.txt: line 1",
    ),
    (
        {"train800val200.txt": "images/no 3.png 1\nimages/no 0.png 1"},
        "train800val200.txt: line 2: 'images/no 0.png 1' is not in train800.txt or val200.txt",
    ),
    (
        {"train800val200.txt": "images/no 3.png 1\n"},
        "train800.txt: line 2: 'images/no 0.png 0' is not in train800val200.txt",
    ),
    (
        {"train800val200.txt": f"{VTAB['train800val200.txt']!s}images/no 3.png 1"},
        "train800val200.txt: has 6 rows, but 5 are in train800.txt and val200.txt",
    ),
    ({"images/no 0.png": BROKEN}, "train800.txt: line 2: images/no 0.png: the image cannot be decoded"),
]
LEAVING = ["../secret.png", "images/../../secret.png", "/etc/x.png", "~/x.png", "file:///etc/x.png", "..\\x.png"]
BAD_VTAB += [
    ({"test.txt": f"{path} 0"}, f"test.txt: line 1: {path!r} leaves the root: give a path below it") for path in LEAVING
]


@pytest.mark.parametrize(("change", "message"), BAD_VTAB)
def test_a_wrong_vtab_tree_is_told_by_list_and_line(
    tmp_path: Path, change: dict[str, bytes | str | None], message: str
) -> None:
    put(str(tmp_path), {"secret.png": png(0)})
    files = {path: payload for path, payload in {**VTAB, **change}.items() if payload is not None}
    assert fault(put(f"{tmp_path}/set", files)).startswith(message)


def test_a_folder_of_vtab_trees_is_told_to_choose(tmp_path: Path) -> None:
    for name in ("caltech101", "cifar"):
        put(f"{tmp_path}/{name}", VTAB)
    assert fault(str(tmp_path)) == "VTAB trees lie in caltech101, cifar; give the URL of one of them"


BAD_CSV = [
    ({"val.csv": "path,class\nx,0\n"}, "val.csv: has no column 'label' (its columns: path, class); give label_column"),
    ({"val.csv": "file,label\nx,0\n"}, "val.csv: has no column 'path' (its columns: file, label); give image_column"),
    ({"val.csv": ""}, "val.csv: has no column 'path'"),
    ({"val.csv": "path,label\n"}, "val.csv: has no rows"),
    ({"val.csv": "path,label\nx\n"}, "val.csv: line 2: needs 2 cells, with 'path' and 'label' not empty"),
    ({"val.csv": "path,label\nx,1,2\n"}, "val.csv: line 2: needs 2 cells"),
    ({"val.csv": "path,label\nx,\n"}, "val.csv: line 2: needs 2 cells"),
    ({"val.csv": 'path,label\n"x"y,1\n'}, "val.csv: line 2: is not CSV"),
    ({"val.csv": "path,label\nimages/no 4.png,bees\n"}, "val.csv: line 2: class 'bees' of val has no image in train"),
    ({"val.csv": "path,label\nimages/no 4.png,1\n"}, "test.csv: line 2: label 'ant' is no integer while others are"),
    ({"val.csv": "path,label\n../x.png,bee\n"}, "val.csv: line 2: '../x.png' leaves the root"),
    ({"val.csv": "path,label,split\nimages/no 4.png,bee,test\n"}, "val.csv: line 2: split test in the list of val"),
    (
        {"val.csv": "path,label,split\nx.png,bee,extra\n"},
        "val.csv: line 2: split 'extra' is not one of train",
    ),
    ({"more.csv": "path,label\nx.png,bee\n"}, "more.csv belongs to no split while other files do"),
    ({"train.csv": None}, "there is test and val but no train split"),
]


@pytest.mark.parametrize(("change", "message"), BAD_CSV)
def test_a_wrong_csv_list_is_told_by_list_and_line(
    tmp_path: Path, change: dict[str, bytes | str | None], message: str
) -> None:
    files = {path: payload for path, payload in {**CSV, **change}.items() if payload is not None}
    assert fault(put(str(tmp_path), files)).startswith(message)


def test_a_list_with_a_row_of_no_split_is_refused(tmp_path: Path) -> None:
    rows = "path,label,split\nimages/no 1.png,1,train\nimages/no 2.png,0,\n"
    assert (
        fault(put(str(tmp_path), {**IMAGES, "list.csv": rows}))
        == "list.csv: line 3: names no split while other rows do"
    )


def test_repeated_rows_count_twice_and_are_warned_of(tmp_path: Path) -> None:
    rows = "path,label\nimages/no 3.png,bee\nimages/no 0.png,ant\n" + 2 * "images/no 3.png,bee\n"
    put(str(tmp_path), {**CSV, "train.csv": rows})
    with pytest.warns(DataWarning, match=r"^2 rows of train repeat others .*train\.csv: line 4: images/no 3\.png"):
        assert reds(look(str(tmp_path)))["train"] == [3, 0, 3, 3]
