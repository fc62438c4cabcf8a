"""WebDataset tars: samples by key, images by range, labels as text; nothing is extracted, nothing unpickled."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_sets import BROKEN, fault, look, png, put, reds

Payload = bytes | str
Members = Mapping[str, Payload]


def tar(members: Mapping[str, Any] | Iterable[tuple[str, Payload]], *, links: Iterable[str] = ()) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as shard:
        for name, payload in members.items() if isinstance(members, Mapping) else members:
            raw = payload.encode() if isinstance(payload, str) else payload
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            shard.addfile(info, io.BytesIO(raw))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            shard.addfile(info)
    return file.getvalue()


def samples(first: int, num: int) -> dict[str, bytes | str]:
    return {
        name: payload
        for value in range(first, first + num)
        for name, payload in (
            (f"dir/{value:04}.png", png(value)),
            (f"dir/{value:04}.cls", f"{value % 3}\n"),
            (f"dir/{value:04}.seg.png", BROKEN),
            (f"dir/{value:04}.txt", "a caption"),
        )
    }


SHARDS: Members = {
    "train-000000.tar": tar(samples(0, 4)),
    "train-000001.tar": tar(samples(4, 3)),
    "val-000000.tar": tar(samples(7, 3)),
    "test-000000.tar": tar(samples(10, 3)),
}


@pytest.mark.parametrize("root", ["", "memory://data-webdataset"])
def test_shards_become_splits_in_the_order_of_their_members(tmp_path: Path, root: str) -> None:
    source = look(put(root or str(tmp_path), SHARDS))
    assert reds(source) == {"train": [*range(7)], "val": [7, 8, 9], "test": [10, 11, 12]}
    assert source.found.pools["train"].labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert (source.classes, source.encoding) == (("0", "1", "2"), "png")


def test_json_may_hold_the_label_under_any_key(tmp_path: Path) -> None:
    for name, key in (("label", None), ("species", "species")):
        members = [(f"{v}.png", png(v)) for v in range(12)]
        members += [(f"{v}.json", json.dumps({name: "ab"[v % 2], "w": 1.5})) for v in range(12)]  # type: ignore[misc]
        put(f"{tmp_path}/{name}", {"all.tar": tar(members)})
        source = look(f"{tmp_path}/{name}/all.tar", label_column=key)
        assert source.classes == ("a", "b")
        assert source.found.pools["pool"].labels.tolist() == 6 * [0, 1]


def test_one_sample_may_have_the_same_label_twice(tmp_path: Path) -> None:
    put(str(tmp_path), {**SHARDS, "val-000000.tar": tar({"x.png": png(9), "x.cls": "1", "x.json": '{"label": 1}'})})
    assert reds(look(str(tmp_path)))["val"] == [9]


GOOD: dict[str, bytes | str] = {"a.png": png(1), "a.cls": "0"}
BAD = [
    (tar({**GOOD, "b.png": png(2)}), "b has no label (.cls or .json)"),
    (tar({**GOOD, "b.cls": "1"}), "b has no image"),
    (tar({**GOOD, "a.jpg": png(2)}), "a.jpg: a has another image"),
    (tar([*GOOD.items(), *GOOD.items()]), "a.png: a has another image"),
    (tar({**GOOD, "a.json": '{"label": 1}'}), "a.json: a has another label"),
    (tar({**GOOD, "b.pyd": b"\x80\x04"}), "b.pyd is a pickle, which is never read: it could run code"),
    (tar({**GOOD, "b.mask.pickle": b"\x80\x04"}), "b.mask.pickle is a pickle"),
    (tar(GOOD, links=["b.png"]), "b.png is a link, a sparse or a special file"),
    (tar({"a.png": png(1), "a.cls": "7"}), "a.png: label 7 is outside 0..2"),
    (tar({"a.png": png(1), "a.cls": "x"}), "a.png: label 'x' is no integer while others are"),
    (tar({"a.png": png(1), "a.cls": b"\xff"}), "a.cls: is not UTF-8 text"),
    (tar({"a.png": png(1), "a.cls": bytes(2**20 + 1)}), "a.cls: has 1048577 bytes, too many for a label"),
    (tar({"a.png": png(1), "a.json": "{"}), "a.json: is not JSON"),
    (tar({"a.png": png(1), "a.json": '{"label": 1.5}'}), "a.json: label is 1.5, not an integer or a class name"),
    (tar({"a.png": BROKEN, "a.cls": "1"}), "a.png: the image cannot be decoded"),
    (b"nonsense" * 200, "cannot be read as a tar"),
    (tar(samples(0, 2))[:3000], "cannot be read as a tar (unexpected end of data)"),
    (tar(GOOD)[:2048], "has no end mark: it was cut"),
    (tar({}), None),
]


@pytest.mark.parametrize(("shard", "message"), BAD)
def test_a_wrong_shard_is_told_by_name_and_member(tmp_path: Path, shard: bytes, message: str | None) -> None:
    put(str(tmp_path), {**SHARDS, "classes.txt": "a\nb\nc", "val-000000.tar": shard})
    told = fault(str(tmp_path))
    assert told == "val has no rows" if message is None else told.startswith("val-000000.tar: " + message)


def test_a_key_that_json_lacks_leaves_the_sample_without_a_label(tmp_path: Path) -> None:
    put(str(tmp_path), {"x.tar": tar({"a.png": png(1), "a.json": '{"other": 1}'})})
    assert fault(str(tmp_path)) == "x.tar: a has no label (.cls or .json)"
