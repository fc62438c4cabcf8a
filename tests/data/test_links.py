"""Local links: what lies out of a set's root is never read by way of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.test_lists import IMAGES, VTAB
from tests.support.small_sets import fault, look, png, put, reds


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("../secret.png", "images/link.png is a link out of its root; copy what it points to"),
        ("no such file.png", "images/link.png is a link to a folder or to nothing"),
        ("../images", "images/link.png is a link to a folder or to nothing"),
    ],
)
def test_a_link_out_of_the_root_is_refused(tmp_path: Path, target: str, message: str) -> None:
    put(str(tmp_path), {"secret.png": png(0)})
    root = put(f"{tmp_path}/set", VTAB)
    (tmp_path / "set/images/link.png").symlink_to(tmp_path / "secret.png" if "secret" in target else target)
    assert fault(root) == message


def test_a_link_within_the_root_is_a_file(tmp_path: Path) -> None:
    root = put(f"{tmp_path}/set", {**VTAB, "test.txt": "images/link.png 0"})
    (tmp_path / "set/images/link.png").symlink_to("no 7.png")
    (tmp_path / "other name").symlink_to(root)
    assert reds(look(f"{tmp_path}/other name"))["test"] == [7]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("link.png", "link.png is a link out of its root; copy what it points to"),
        ("folder/secret.png", "folder/secret.png is a link out of its root; copy what it points to"),
        ("../secret.png", "set.csv: line 2: '../secret.png' leaves the root"),
        ("none.png", "set.csv: line 2: none.png: cannot be read (No such file or directory)"),
    ],
)
def test_a_list_at_a_url_of_its_own_is_as_strict(tmp_path: Path, path: str, message: str) -> None:
    put(str(tmp_path), {"secret.png": png(0)})
    rows = "".join(f"images/no {value}.png,{value % 2}\n" for value in range(8))
    put(f"{tmp_path}/set", {**IMAGES, "set.csv": f"path,label\n{path},1\n{rows}"})
    (tmp_path / "set/link.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "set/folder").symlink_to(tmp_path)
    assert fault(f"{tmp_path}/set/set.csv", num_train=7, num_val=1).startswith(message)
