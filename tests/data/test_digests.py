"""A set's digest is remembered by its listing: as long as nothing was written, no image is read again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lion_ray.config import DataConfig, DatasetConfig
from lion_ray.data import Source, find
from lion_ray.data.digests import cached_fingerprint
from lion_ray.data.fingerprint import Fingerprint

LONG_AGO = 1_500_000_000


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve images of two classes that were written long ago, and an empty memory."""
    monkeypatch.setenv("LION_RAY_CACHE", str(tmp_path / "cache"))
    for index in range(12):
        write(tmp_path / "set" / f"{index % 2}" / f"{index}.bmp", index)
    return tmp_path / "set"


def write(file: Path, grey: int, when: float = LONG_AGO) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), grey).save(file)
    os.utime(file, (when, when))


def look(url: Path, **asked: Any) -> Source:
    return find(DatasetConfig(name="mine", url=str(url), **asked))


def digest(url: Path) -> str:
    return str(look(url).identity()["digest"])


def test_what_lies_as_it_lay_is_not_read_again(photos: Path) -> None:
    first = digest(photos)
    write(photos / "0" / "0.bmp", 99)  # other bytes, as many, at the same time: only reading could tell
    assert digest(photos) == first


def test_the_number_of_images_asked_for_does_not_matter(photos: Path) -> None:
    first = digest(photos)
    write(photos / "0" / "0.bmp", 99)
    assert look(photos, num_train=2, num_val=1, num_test=1).identity()["digest"] == first
    assert look(photos, shots=1).identity()["digest"] == first


def test_a_file_written_added_or_removed_is_read(photos: Path) -> None:
    seen = {digest(photos)}
    write(photos / "0" / "0.bmp", 99, when=LONG_AGO + 1)
    seen.add(digest(photos))
    write(photos / "0" / "more.bmp", 0)
    seen.add(digest(photos))
    (photos / "0" / "2.bmp").unlink()
    seen.add(digest(photos))
    assert len(seen) == 4


def test_a_file_written_a_moment_ago_is_not_believed(photos: Path) -> None:
    (photos / "0" / "0.bmp").touch()
    first, stamp = digest(photos), (photos / "0" / "0.bmp").stat().st_mtime
    write(photos / "0" / "0.bmp", 99, when=stamp)
    assert digest(photos) != first


def test_what_is_read_in_another_way_is_another_memory(photos: Path) -> None:
    made = [Fingerprint(digest=name, encoding="bmp") for name in ("a", "b")]
    assert [cached_fingerprint(str(photos), {"format": each.digest}, lambda each=each: each) for each in made] == made  # type: ignore[misc]
    assert cached_fingerprint(str(photos), {"format": "a"}, lambda: made[1]) == made[0]


def test_a_damaged_memory_is_made_again(photos: Path, tmp_path: Path) -> None:
    first = digest(photos)
    (memory,) = (tmp_path / "cache" / "digests").iterdir()
    memory.write_bytes(b'["cut')
    assert digest(photos) == first
    assert memory.read_bytes() != b'["cut'


def test_where_nothing_can_be_kept_everything_is_read(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    first = digest(photos)
    write(photos / "0" / "0.bmp", 99)
    assert digest(photos) != first


def test_the_root_of_built_sets_is_not_part_of_what_a_set_is(photos: Path) -> None:
    where = DataConfig(root="s3://elsewhere")
    assert find(DatasetConfig(name="mine", url=str(photos)), where).identity() == look(photos).identity()
