"""Zips at any URL: read as the folder they hold, member by member; what could harm is refused, not unpacked."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from lion_ray.data.readers import archive
from tests.data.test_lists import CSV, VTAB
from tests.support.small_sets import BROKEN, fault, look, png, put, reds

FOLDER: Mapping[str, bytes | str] = {
    f"{split}/{name}/{value}.png": png(value)
    for value, (split, name) in enumerate((split, name) for split in ("train", "val", "test") for name in "ab")
}


def packed(files: Mapping[str, bytes | str], *, method: int = zipfile.ZIP_DEFLATED, top: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        for path, payload in files.items():
            zipped.writestr(f"{top}{path}", payload)
    return file.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("files", [FOLDER, VTAB, CSV])
def test_a_zip_is_the_set_that_its_files_make(tmp_path: Path, files: Mapping[str, bytes | str], method: int) -> None:
    plain = look(put(f"{tmp_path}/plain", files))
    put(str(tmp_path), {"a.zip": packed(files, method=method), "b.zip": packed(files, top="some name/")})
    put("memory://data-archive", {"c.zip": packed(files, top="deep/set/")})
    for url in (f"{tmp_path}/a.zip", f"{tmp_path}/b.zip", "zip://deep/set::memory://data-archive/c.zip"):
        assert look(url).identity() == plain.identity()
        assert reds(look(url)) == reds(plain)


def test_the_folders_that_a_mac_adds_are_left_alone(tmp_path: Path) -> None:
    put(str(tmp_path), {"a.zip": packed({**FOLDER, "__MACOSX/train/._x": b""}, top="")})
    assert len(reds(look(f"{tmp_path}/a.zip"))["train"]) == 2


def test_members_are_read_by_their_own_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(str(tmp_path), {"a.zip": packed({**FOLDER, "README": b"\0" * 100_000}, method=zipfile.ZIP_STORED)})
    files = look(f"{tmp_path}/a.zip").found.pools["train"]
    sizes = [file.raw.size for file in files.files]  # type: ignore[attr-defined]
    assert max(sizes) < 300


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../evil.png", "set.zip: ../evil.png leaves its root"),
        ("train/../../evil.png", "set.zip: train/../../evil.png leaves its root"),
        ("/evil.png", "set.zip: /evil.png leaves its root"),
    ],
)
def test_a_member_out_of_the_root_is_refused(tmp_path: Path, name: str, message: str) -> None:
    put(str(tmp_path), {"set.zip": packed({**FOLDER, name: png(0)})})
    assert fault(f"{tmp_path}/set.zip") == message


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(str(tmp_path), {"set.zip": packed({**FOLDER, "train/a/bomb.png": bytes(2**21)})})
    monkeypatch.setattr(archive, "_unpacked", None)  # it would raise
    told = fault(f"{tmp_path}/set.zip")
    assert re.fullmatch(r"set\.zip: train/a/bomb\.png unpacks 20.. bytes to 2097152, a zip bomb\?", told)
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 2**20)
    message = "set.zip: train/a/bomb.png unpacks to 2097152 bytes, a zip bomb? The limit is 1048576"
    assert fault(f"{tmp_path}/set.zip") == message


def test_a_member_never_unpacks_to_more_than_the_directory_says(tmp_path: Path) -> None:
    """A bomb may lie about its size: then what is too much is never made."""
    honest = packed({**FOLDER, "train/a/x.png": bytes(2**20)})
    put(str(tmp_path), {"set.zip": honest.replace((2**20).to_bytes(4, "little"), (100).to_bytes(4, "little"))})
    assert fault(f"{tmp_path}/set.zip").startswith("set.zip: train/a/x.png: is not what the zip's directory says")
    assert len(archive._unpacked(zlib.compress(bytes(2**20), wbits=-15), 100, True)) == 101


def test_a_flipped_byte_is_told(tmp_path: Path) -> None:
    payload = bytearray(packed(FOLDER, method=zipfile.ZIP_STORED))
    payload[payload.index(b"IDAT") + 6] ^= 1
    put(str(tmp_path), {"set.zip": bytes(payload)})
    assert fault(f"{tmp_path}/set.zip").startswith("set.zip: train/a/0.png: is not what the zip's directory says")


def test_what_is_no_zip_or_cut_is_told(tmp_path: Path) -> None:
    put(str(tmp_path), {"a.zip": b"nonsense", "b.zip": packed(FOLDER)[:-30]})
    assert fault(f"{tmp_path}/a.zip") == "a.zip: cannot be read as a zip (File is not a zip file)"
    assert fault(f"{tmp_path}/b.zip") == "b.zip: cannot be read as a zip (File is not a zip file)"


def test_links_other_methods_and_doubles_are_refused(tmp_path: Path) -> None:
    link, file = zipfile.ZipInfo("train/a/link.png"), io.BytesIO()
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr(link, "/etc/passwd")
    put(str(tmp_path), {"link.zip": file.getvalue(), "xz.zip": packed(FOLDER, method=zipfile.ZIP_LZMA)})
    assert fault(f"{tmp_path}/link.zip") == "link.zip: train/a/link.png is a symbolic link"
    assert fault(f"{tmp_path}/xz.zip").startswith("xz.zip: train/a/0.png is packed by method 14; only stored and")
    payload = packed({"train/a/0.png": png(0), "train/a/1.png": png(1)})
    put(str(tmp_path), {"twice.zip": payload.replace(b"train/a/1.png", b"train/a/0.png")})
    assert fault(f"{tmp_path}/twice.zip") == "twice.zip: holds train/a/0.png twice"


def test_a_broken_image_in_a_zip_is_named(tmp_path: Path) -> None:
    put(str(tmp_path), {"set.zip": packed({**FOLDER, "val/b/3.png": BROKEN})})
    assert fault(f"{tmp_path}/set.zip").startswith("val/b/3.png: the image cannot be decoded")
