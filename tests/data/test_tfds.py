"""Sets that TFDS prepared, read without it. TFDS 4.9.10 with TensorFlow 2.21 wrote `fixtures/tfds`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lion_ray.data.item import BadData
from lion_ray.data.readers import tfds
from lion_ray.data.readers.examples import parse
from lion_ray.data.readers.listing import listing
from lion_ray.data.readers.records import masked_crc
from tests.support.small_sets import fault, look, put, reds

PREPARED = Path(__file__).parent.parent / "fixtures/tfds"
TRAIN, TEST = "tiny-train.tfrecord-00000-of-00001", "tiny-test.tfrecord-00000-of-00001"
ORDER = [6, 5, 4, 10, 0, 8, 3, 1, 9, 7, 11, 2]
"""The images of train as `tfds.builder_from_directory(...).as_dataset(split="train")` gave them."""


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(PREPARED, tmp_path / "tiny")


def test_records_come_in_the_order_and_with_the_labels_that_tfds_gives() -> None:
    source = look(str(PREPARED), num_train=2, num_val=1)
    pool = source.found.pools["train"]
    assert pool.labels.tolist() == [value % 3 for value in ORDER]
    assert source.classes == ("ant", "bee", "cat")
    assert source.encoding == "png"


def test_positions_mean_the_same_images_as_in_tfds() -> None:
    images = tfds.labelled(listing(str(PREPARED)), lambda record: int(record["file_name"].partition(b".")[0]))
    assert images["train"].labels == tuple(ORDER)
    assert images["test"].labels == (16, 13, 15, 12, 14)
    assert sorted(reds(look(str(PREPARED)))["test"]) == [*range(12, 17)]


def test_a_rule_sees_a_record_as_tfds_gives_it() -> None:
    seen: list[Any] = []

    def rule(record: Any) -> int:
        seen.append(record)
        return 0

    tfds.labelled(listing(str(PREPARED)), rule)
    two = next(record for record in seen if record["file_name"] == b"11.png")
    assert (two["label"], two["label_x"]) == (2, 5.5)
    np.testing.assert_array_equal(two["objects"]["location"], [[11, 1, 2], [11, 1, 2]])
    assert two["objects"]["bbox"].shape == (2, 4)
    assert two["objects"]["type"].tolist() == [0, 1]
    none = next(record for record in seen if record["file_name"] == b"0.png")
    assert none["objects"]["location"].shape == (0, 3)
    assert none["image"].startswith(b"\x89PNG")


def test_any_url_will_do_and_a_label_may_be_another_feature(tmp_path: Path) -> None:
    root = put("memory://data-tfds", {file.name: file.read_bytes() for file in PREPARED.iterdir()})
    assert look(root).identity() == look(str(PREPARED)).identity()
    assert fault(root, label_column="label_x").endswith("record 0: feature 'label_x' is no integer")
    assert "has no image feature 'pixels' (its features: file_name, image, " in fault(root, image_column="pixels")


def spoil(path: Path, place: int, *, end: int | None = None) -> None:
    payload = bytearray(path.read_bytes())[:end]
    payload[place] ^= 1
    path.write_bytes(bytes(payload))


def test_a_damaged_or_cut_shard_is_told_by_its_byte(prepared: Path) -> None:
    whole = (prepared / TRAIN).read_bytes()
    for payload, message in (
        (whole[:-10], f"{TRAIN}: ends within the record at byte "),
        (whole[:5], f"{TRAIN}: is no TFRecord, or damaged, at byte 0"),
        (b"\xff" + whole[1:], f"{TRAIN}: is no TFRecord, or damaged, at byte 0"),
        (b"", "dataset_info.json: says 12 records of train, but there are 0"),
    ):
        (prepared / TRAIN).write_bytes(payload)
        assert fault(str(prepared)).startswith(message)


def framed(payload: bytes) -> bytes:
    size = len(payload).to_bytes(8, "little")
    return size + masked_crc(size).to_bytes(4, "little") + payload + masked_crc(payload).to_bytes(4, "little")


def test_the_framing_is_tensorflows() -> None:
    whole = (PREPARED / TEST).read_bytes()
    size = int.from_bytes(whole[:8], "little")
    assert framed(whole[12 : 12 + size]) == whole[: 16 + size]


@pytest.mark.parametrize("record", [b"\x0a\xff", b"\x0a\x03\x0a\x01\x00", b"\x08\x01", b"\x0f", b"\xff" * 12])
def test_a_record_that_is_no_example_is_told(prepared: Path, record: bytes) -> None:
    (prepared / TRAIN).write_bytes(framed(record))
    assert fault(str(prepared)).startswith(f"{TRAIN}: record 0: ")


def test_no_flipped_byte_of_an_example_escapes_as_another_error() -> None:
    whole = (PREPARED / TEST).read_bytes()
    record = whole[12 : 12 + int.from_bytes(whole[:8], "little")]
    for place in range(len(record)):
        broken = bytearray(record)
        broken[place] ^= 0xFF
        try:
            parse(bytes(broken))
        except ValueError:
            continue


def test_a_missing_description_or_another_split_is_told(prepared: Path) -> None:
    (prepared / TEST).rename(prepared / "tiny-extra.tfrecord-00000-of-00001")
    assert fault(str(prepared)).startswith("split extra belongs to no split while other files do")
    (prepared / "features.json").rename(prepared / "other.json")
    assert fault(str(prepared)) == "there is no features.json, which TFDS writes beside its records"
    (prepared / "features.json").write_text("[]")
    assert fault(str(prepared)) == "features.json: is not a JSON object"


def test_a_missing_shard_is_told_by_its_count(prepared: Path) -> None:
    info = json.loads((prepared / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["12", "11"]
    (prepared / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(BadData, match=r"dataset_info\.json: says 23 records of train, but there are 12"):
        tfds.labelled(listing(str(prepared)), lambda record: 0)


def test_two_names_of_one_split_are_not_merged_and_an_absent_one_is_told(prepared: Path) -> None:
    for word in ("val", "validation"):
        shutil.copy(prepared / TEST, prepared / TEST.replace("test", word))
    assert fault(str(prepared)).startswith("val and validation both name val")
    for path in prepared.glob("tiny-[vt][ae]*.tfrecord*"):
        path.unlink()
    notes = look(str(prepared), num_train=2, num_val=1).found.notes
    assert "dataset_info.json names 1 split (test) of which no shard is here" in notes


def test_array_records_are_read_with_their_package(prepared: Path) -> None:
    """Needs `pip install 'lion-ray[tfds]'`."""
    module = pytest.importorskip("array_record.python.array_record_module")
    want = tfds.labelled(listing(str(PREPARED)), lambda record: 0)
    for name, split in ((TRAIN, "train"), (TEST, "test")):
        (prepared / name).unlink()
        writer = module.ArrayRecordWriter(str(prepared / name.replace("tfrecord", "array_record")), "group_size:1")
        for image in want[split].images:
            writer.write(image.record.read())
        writer.close()
    assert look(str(prepared)).identity() == look(str(PREPARED)).identity()


def test_array_records_without_the_package_give_the_pip_line(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)
    (prepared / TRAIN).rename(prepared / TRAIN.replace("tfrecord", "array_record"))
    message = f"{TRAIN.replace('tfrecord', 'array_record')}: ArrayRecord needs a package: pip install 'lion-ray[tfds]'"
    assert fault(str(prepared)) == message
