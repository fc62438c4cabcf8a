"""Verification: every kind of damage is named, what is whole is called so, and the exit status says which."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from lion_ray.cli.commands import main
from lion_ray.data.build.building import build, build_named
from lion_ray.data.build.manifest import MANIFEST
from lion_ray.data.verify.verifying import CheckResult, verify
from lion_ray.store import StorageError, Store, write_url
from tests.support.image_sets import encoded, look, write_folder


@pytest.fixture
def built(tmp_path: Path) -> str:
    """A set in several shards."""
    return make(tmp_path, f"{tmp_path}/built")


@pytest.fixture(params=["local", "memory", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same, on each kind of storage."""
    place = f"memory://{tmp_path.name}" if request.param == "memory" else f"{tmp_path}/built"
    return make(tmp_path, request.getfixturevalue("s3_url") + "/set" if request.param == "s3" else place)


def make(folder: Path, url: str) -> str:
    write_folder(f"{folder}/source")
    build(look(f"{folder}/source").found, url, name="mine", source=f"{folder}/source", shard_bytes=8000)
    return url


def problems(url: str) -> dict[str, CheckResult]:
    """What is not ok."""
    return {check.name: check for check in verify(url) if check.status != "ok"}


def test_a_whole_set_is_whole(anywhere: str) -> None:
    checks = verify(anywhere)
    assert {check.status for check in checks} == {"ok"}
    names = [check.name for check in checks]
    assert names == ["shards", "source", "source", "counts", "labels", "images", "digest", "train and test", "encoding"]
    assert checks[5].detail == "all 51 decode"


def test_one_bit_in_any_shard_is_found_and_the_shard_named(built: str) -> None:
    store = Store(built)
    shards = [path for path in store.paths() if path.endswith(".parquet")]
    assert len(shards) >= 5
    for path in shards:
        whole = store.read(path) or b""
        at = len(whole) // 2
        store.write(path, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert problems(built)["shards"].detail == f"{path} has another SHA-256 than {MANIFEST} says"
        store.write(path, whole)
    assert not problems(built)


def test_a_shard_that_is_cut_missing_or_in_excess_is_named(anywhere: str) -> None:
    store = Store(anywhere)
    path = next(name for name in store.paths() if name.startswith("test"))
    whole = store.read(path) or b""
    store.write(path, whole[:-1])
    assert f"{path} has {len(whole) - 1} bytes, not {len(whole)}" in problems(anywhere)["shards"].detail
    store.remove(path)
    assert (
        problems(anywhere)["shards"].detail
        == problems(anywhere)["readable"].detail
        == f"{path} is missing; {MANIFEST} names it"
    )
    store.write(path, whole)
    store.write("train-7.parquet", whole)
    assert problems(anywhere)["shards"].detail == f"train-7.parquet is not in {MANIFEST}"


def test_a_manifest_that_says_something_else_is_wrong(built: str) -> None:
    store = Store(built)
    manifest = json.loads(store.read(MANIFEST) or b"")
    for key, value, name, detail in (
        ("digest", "0" * 64, "digest", f"but {MANIFEST} says {'0' * 64}"),
        ("classes", ["a", "b", "c"], "readable", "its classes are not those of the shards"),
        ("splits", {"train": manifest["splits"]["train"]}, "readable", "splits train are not the shards'"),
        ("format", "lion-ray dataset 2", "manifest", f"{MANIFEST}: format: Input should be 'lion-ray dataset 1'"),
    ):
        store.write(MANIFEST, json.dumps(manifest | {key: value}).encode())
        assert detail in problems(built)[name].detail
    manifest["splits"]["val"]["images"] += 1
    store.write(MANIFEST, json.dumps(manifest).encode())
    assert problems(built)["readable"].detail == f"{MANIFEST}: val has 9 images, not 10"


def table(*rows: tuple[bytes, int], num_classes: int = 3) -> bytes:
    """A shard that no build has written."""
    features = {"label": {"names": [str(label) for label in range(num_classes)], "_type": "ClassLabel"}}
    columns = {"image": pa.array([image for image, _ in rows]), "label": pa.array([label for _, label in rows])}
    file = io.BytesIO()
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file)
    return file.getvalue()


def rows(first: int, num: int) -> list[tuple[bytes, int]]:
    return [(encoded(number), number % 3) for number in range(first, first + num)]


def test_a_label_out_of_range_is_named(tmp_path: Path) -> None:
    write_url(f"{tmp_path}/train-0.parquet", table(*rows(0, 9)))
    write_url(f"{tmp_path}/test-0.parquet", table(*rows(9, 3), (encoded(12), 3)))
    assert problems(str(tmp_path))["readable"].detail == "test-0.parquet: row 3: label 3 is outside 0..2"


def test_an_empty_class_is_told(tmp_path: Path) -> None:
    write_url(f"{tmp_path}/train-0.parquet", table(*rows(0, 9), num_classes=5))
    write_url(f"{tmp_path}/val-0.parquet", table(*rows(9, 3), num_classes=5))
    write_url(f"{tmp_path}/test-0.parquet", table(*rows(12, 3), num_classes=5))
    assert problems(str(tmp_path)) == {
        "labels": CheckResult(name="labels", status="warning", detail="no image in train of 3, 4")
    }


def test_a_set_of_one_class_is_wrong_as_a_study_refuses_it(tmp_path: Path) -> None:
    for split, first in (("train", 0), ("val", 9), ("test", 12)):
        write_url(f"{tmp_path}/{split}-0.parquet", table(*((encoded(first + k), 0) for k in range(3)), num_classes=1))
    detail = "one class only: there is nothing to tell apart"
    assert problems(str(tmp_path)) == {"labels": CheckResult(name="labels", status="wrong", detail=detail)}


def test_a_broken_image_is_named_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    write_folder(f"{tmp_path}/set")
    for number in (1, 4, 7, 10):
        file = tmp_path / f"set/train/bee/{number:05d}.png"
        file.write_bytes(file.read_bytes()[: 80 + number])
    (tmp_path / "set/test/ant/00048.png").write_bytes(encoded(0))
    found = problems(f"{tmp_path}/set")
    assert found["images"].detail.startswith("4 broken: train/bee/00001.png: the image cannot be decoded (")
    assert found["images"].detail.endswith(" and 1 more")
    assert found["train and test"].status == "wrong"


def test_an_image_of_train_in_test_is_named_whatever_its_format(tmp_path: Path) -> None:
    write_folder(f"{tmp_path}/set")
    write_url(f"{tmp_path}/set/test/cat/copy.bmp", encoded(5, "bmp"))
    write_url(f"{tmp_path}/set/val/cat/copy.png", encoded(8))
    write_url(f"{tmp_path}/set/train/cat/copy.png", encoded(11))
    assert problems(f"{tmp_path}/set") == {
        "train and test": CheckResult(
            name="train and test",
            status="wrong",
            detail="1 of test in train: train/cat/00005.png = test/cat/copy.bmp",
        ),
        "train and val": CheckResult(
            name="train and val", status="warning", detail="1: train/cat/00008.png = val/cat/copy.png"
        ),
        "twice in train": CheckResult(
            name="twice in train", status="warning", detail="1: train/cat/00011.png = train/cat/copy.png"
        ),
    }


def test_a_lossless_set_that_was_saved_as_jpeg_is_told_what_it_costs(tmp_path: Path) -> None:
    for name, warned in (("mnist", True), ("textile", False), ("holiday", False)):
        write_folder(f"{tmp_path}/{name}", format="jpeg")
        found = problems(f"{tmp_path}/{name}").get("encoding")
        assert (found is not None) is warned
        if found is not None:
            assert found.detail.startswith("jpeg 51: JPEG, but published without loss; reported cost: 10 points")


def test_a_set_of_the_catalogue_is_held_against_its_entry(tmp_path: Path) -> None:
    build_named("mnist", None, f"{tmp_path}/mnist")
    counts = next(check for check in verify("mnist", root=str(tmp_path)) if check.name == "counts")
    assert (counts.status, counts.detail) == ("ok", "train 800, val 200, test 1000, as the catalogue says")
    write_folder(f"{tmp_path}/small")
    build(look(f"{tmp_path}/small").found, f"{tmp_path}/other/mnist", name="mnist", source="words")
    assert (
        problems(f"{tmp_path}/other/mnist")["counts"].detail
        == "holds test 12, train 30, val 9, but mnist has pool 5000"
    )


def test_a_half_built_set_is_wrong(built: str) -> None:
    store = Store(built)
    store.write("unfinished/plan.json", b"{}")
    assert not problems(built)
    store.remove(MANIFEST)
    assert "has not come to the end" in problems(built)["manifest"].detail


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["data", *arguments])
    return result.exit_code, result.output


def test_the_commands_say_by_their_status_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(f"{tmp_path}/pets")
    status, output = run("build", "pets", "--from", f"{tmp_path}/pets", "--to", f"{tmp_path}/built")
    assert (status, "51 images, png, digest" in output) == (0, True)
    assert run("build", "pets", "--from", f"{tmp_path}/pets", "--to", f"{tmp_path}/built")[1].endswith(
        "it was finished\n"
    )
    status, output = run("verify", f"{tmp_path}/built", "--json")
    assert (status, {json.loads(line)["status"] for line in output.splitlines()}) == (0, {"ok"})
    shard = tmp_path / "built/test-00000-of-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    status, output = run("verify", f"{tmp_path}/built")
    assert (status, output.split()[:2]) == (1, ["shards", "wrong"])
    for wrong in (["verify", "nosuch"], ["verify", "pets", "--root", str(tmp_path)], ["build", "pets", "--to", "x"]):
        status, output = run(*wrong)
        assert (status, output.count("\n")) == (2, 1), output

    def fails(url: str) -> list[str]:
        raise StorageError(5, "does not answer", url)

    monkeypatch.setattr("lion_ray.data.readers.listing.find_files", fails)
    assert run("verify", "s3://bucket/pets")[0] == 3


def test_an_outage_in_the_middle_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(f"memory://{tmp_path.name}/set")

    def fails(url: str) -> bytes:
        raise StorageError(5, "does not answer", url)

    monkeypatch.setattr("lion_ray.data.files.read_url", fails)
    with pytest.raises(StorageError, match="does not answer"):
        verify(f"memory://{tmp_path.name}/set")
