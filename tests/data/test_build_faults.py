"""A build that meets broken images, kills and full disks: whole or not counted, and gone on with to the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lion_ray.config import StudyError
from lion_ray.data.build.building import build_named
from lion_ray.data.build.manifest import MANIFEST
from lion_ray.data.item import BadData
from lion_ray.store import StorageError, Store
from tests.support.builds import SMALL, first, make, tree
from tests.support.image_sets import encoded, look, write_folder

ROOT = Path(__file__).parent.parent.parent
BUILD = f"""
import sys
from lion_ray.data.build.building import build
from tests.support.image_sets import look
def say(line):
    print(line, flush=True)
source, url = sys.argv[1:]
build(look(source).found, url, name="mine", source=source, shard_bytes={SMALL}, on_shard=say)
"""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    write_folder(f"{tmp_path}/folder")
    return f"{tmp_path}/folder"


def test_a_broken_image_ends_the_build_by_name_and_a_half_built_set_is_none(tmp_path: Path) -> None:
    folder, place = f"{tmp_path}/folder", f"{tmp_path}/built"
    write_folder(folder, sizes={"train": 150, "test": 6})
    broken = Path(f"{folder}/train/ant/00144.png")  # of these numbers no sample is taken
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    with pytest.raises(BadData, match=r"train/ant/00144\.png: the image cannot be decoded"):
        make(folder, place)
    assert first(tree(place), "train")
    with pytest.raises(StudyError, match="build has not come to the end; give the same `lion-ray data build` again"):
        look(place)
    with pytest.warns(UserWarning, match="skipped 1 of 150 images of train"):
        built = build_named("mine", folder, "memory://build-skipping", on_bad_image="skip").manifest
    assert built.splits["train"].images == 149
    assert built.split_rule == "as the source names them; without 1 of train that could not be decoded"
    broken.write_bytes(whole)
    assert make(folder, place).manifest.digest == look(folder).identity()["digest"]


def test_a_source_that_has_changed_is_not_gone_on_with(folder: str, tmp_path: Path) -> None:
    place = f"{tmp_path}/built"
    assert kill_after(folder, place, 3)
    Path(f"{folder}/train/ant/00000.png").write_bytes(encoded(999))
    built = make(folder, place)
    assert (built.num_made, built.manifest.digest) == (len(built.manifest.shards), look(folder).identity()["digest"])


def kill_after(source: str, url: str, num_shards: int) -> bool:
    """SIGKILL to a build that has made so many shards; whether it was still at work."""
    command = [sys.executable, "-c", BUILD, source, url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(num_shards):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def test_a_build_that_is_killed_again_and_again_ends_with_the_same_bytes(folder: str, tmp_path: Path) -> None:
    make(folder, f"{tmp_path}/undisturbed")
    for num_shards in (2, 5):
        assert kill_after(folder, f"{tmp_path}/killed", num_shards)
        assert not Path(f"{tmp_path}/killed/{MANIFEST}").exists()
    made = make(folder, f"{tmp_path}/killed").num_made
    assert 0 < made < len(tree(f"{tmp_path}/undisturbed")) - 1
    assert tree(f"{tmp_path}/killed") == tree(f"{tmp_path}/undisturbed")


@pytest.mark.parametrize("num_writes", range(0, 20, 3))
def test_a_storage_that_fails_at_any_write_leaves_what_can_be_gone_on_with(
    folder: str, tmp_path: Path, num_writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = Store.write, [num_writes]

    def fails(store: Store, path: str, payload: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StorageError(28, "No space left on device", path)
        write(store, path, payload)

    place = f"{tmp_path}/built"
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", fails)
        with pytest.raises(StorageError, match="No space left"):
            make(folder, place)
    make(folder, place)
    make(folder, f"memory://{tmp_path.name}/whole")
    assert tree(place) == tree(f"memory://{tmp_path.name}/whole")


def test_a_built_set_that_was_touched_is_refused_when_it_is_found(folder: str, tmp_path: Path) -> None:
    place = f"{tmp_path}/built"
    make(folder, place)
    store, before = Store(place), tree(place)
    name = first(before, "test")

    def refused(path: str, payload: bytes | None, match: str) -> None:
        store.remove(path) if payload is None else store.write(path, payload)
        with pytest.raises(StudyError, match=rf"my\.yaml: datasets\.mine: {match}"):
            look(place)
        store.write(path, before[path]) if path in before else store.remove(path)

    def edited(*keys: str, value: object) -> bytes:
        manifest = json.loads(before[MANIFEST])
        part = manifest
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        return json.dumps(manifest).encode()

    refused(name, before[name][:-9], rf"{name} has \d+ bytes, not \d+ as manifest\.json says")
    refused(name, None, rf"{name} is missing; manifest\.json names it")
    refused("train-9.parquet", before[name], r"train-9\.parquet is not in manifest\.json")
    refused(MANIFEST, before[MANIFEST][:-40], r"manifest\.json: Invalid JSON")
    refused(MANIFEST, edited("digest", value=7), r"manifest\.json: digest: Input should be a valid string")
    refused(MANIFEST, edited("splits", "test", "images", value=13), r"manifest\.json: test has 12 images, not 13")
    refused(MANIFEST, edited("splits", "test", "sha256", value=""), r"manifest\.json: the labels of test are not those")
    refused(
        MANIFEST, edited("classes", value=["a", "b", "c"]), r"manifest\.json: its classes are not those of the shards"
    )
    assert look(place).found.known is not None
