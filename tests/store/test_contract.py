"""The store: one contract, on every kind of filesystem that is here."""

from __future__ import annotations

import os
import pickle
import time
import uuid
from pathlib import Path

import fsspec
import pytest

from lion_ray.store import (
    DONE,
    DamagedArtifactWarning,
    Patience,
    Store,
    find_files,
    open_url,
    read_url,
    urls,
    write_url,
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Three kinds of storage, or the one that `--storage` names."""
    if "store" in metafunc.fixturenames:
        elsewhere = metafunc.config.getoption("--storage")
        metafunc.parametrize("store", [elsewhere] if elsewhere else ["local", "memory", "s3"], indirect=True)


@pytest.fixture
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return Store(f"{request.getfixturevalue('s3_url')}/prefix/study")
    if "://" in request.param:
        return Store(f"{request.param.rstrip('/')}/{uuid.uuid4().hex}/study")
    url = {"local": str(tmp_path / "a b"), "memory": f"memory://{tmp_path.name}"}[request.param]
    return Store(f"{url}/study")


def test_what_is_committed_is_read_back(store: Store) -> None:
    files = {"ticket.bin": bytes(range(256)), "result.json": b"{}"}
    store.commit("experiments/e/round-0", files)
    assert store.load("experiments/e/round-0") == files
    assert store.load("experiments/e/round-0", ["result.json"]) == {"result.json": b"{}"}
    assert store.committed() == {"experiments/e/round-0"}


def test_a_url_is_written_and_read_and_a_missing_one_is_named(store: Store) -> None:
    url = f"{store.url}/folder/file.bin"
    write_url(url, b"old")
    write_url(url, bytes(range(256)))
    assert read_url(url) == bytes(range(256))
    store.write("b", b"12")
    assert {path: listed.size for path, listed in store.listing().items()} == {"folder/file.bin": 256, "b": 2}
    with pytest.raises(FileNotFoundError, match="none"):
        read_url(f"{store.url}/none")
    with pytest.raises(OSError, match="no filesystem is called nowhere://"):
        read_url("nowhere://x")


def test_what_is_written_again_replaces_what_was_there(store: Store) -> None:
    store.commit("k", {"a": b"old", "b": b"1"})
    before = store.listing()
    time.sleep(0.01)  # a local file's time is as coarse as this
    store.commit("k", {"a": b"new", "b": b"1"})
    after = store.listing()
    assert store.load("k") == {"a": b"new", "b": b"1"}
    assert before.keys() == after.keys() == {"k/a", "k/b", "k/DONE"}
    assert before["k/a"].size == after["k/a"].size == 3
    assert before["k/a"].stamp != after["k/a"].stamp
    assert before["k/a"].stamp


def test_a_listing_holds_a_folder_and_not_its_neighbours(store: Store) -> None:
    for path in ("a/x/1", "a/y", "ab/1"):
        store.write(path, b"1")
    assert set(store.listing("a")) == {"a/x/1", "a/y"}
    assert set(store.listing()) == {"a/x/1", "a/y", "ab/1"}
    assert store.listing("none") == {}
    store.remove("a")
    assert store.paths() == ["ab/1"]


def test_names_may_hold_any_letters(store: Store) -> None:
    key = "experiments/Größe 1 + ü%20&=#/日本/round-0"
    store.commit(key, {"täst file.bin": b"1"})
    assert store.load(key) == {"täst file.bin": b"1"}
    assert store.committed() == {key}


def test_a_store_means_the_same_after_pickling(store: Store) -> None:
    store.commit("k", {"a": b"1"})
    again = pickle.loads(pickle.dumps(Store(store.url, patience=Patience(seconds=7))))  # noqa: S301
    assert again.load("k") == {"a": b"1"}
    assert again._patience == Patience(seconds=7)


def test_a_large_file_goes_in_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "PART_BYTES", 5 * 2**20)  # the least that S3 takes
    payload = os.urandom(11 * 2**20)
    store.commit("k", {"large": payload})
    assert store.load("k") == {"large": payload}
    if store.url.startswith("s3"):
        assert store.listing()["k/large"].stamp.strip('"').endswith("-3")  # S3's mark of three parts


def test_payload_without_marker_does_not_exist(store: Store) -> None:
    store.write("experiments/e/round-0/result.json", b"{}")
    assert store.load("experiments/e/round-0") is None
    assert store.committed() == frozenset()


def test_the_marker_is_written_last(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    write = Store.write

    def noted(self: Store, path: str, payload: bytes) -> None:
        written.append(path)
        write(self, path, payload)

    monkeypatch.setattr(Store, "write", noted)
    store.commit("k", {"a": b"1", "b": b"2"})
    assert sorted(written[:2]) == ["k/a", "k/b"]
    assert written[2:] == [f"k/{DONE}"]


@pytest.mark.parametrize("damage", [b"", b"{}x", b"1" * 100])
def test_a_payload_that_changed_counts_as_absent_with_a_warning(store: Store, damage: bytes) -> None:
    store.commit("k", {"a": b"{}"})
    store.write("k/a", damage)
    with pytest.warns(DamagedArtifactWarning, match="does not match its digest"):
        assert store.load("k") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"a": 3}', b"\xff"])
def test_a_marker_that_is_damaged_counts_as_absent(store: Store, damage: bytes) -> None:
    store.commit("k", {"a": b"{}"})
    store.write(f"k/{DONE}", damage)
    with pytest.warns(DamagedArtifactWarning):
        assert store.load("k", ["a"]) is None


def test_a_payload_that_is_gone_counts_as_absent(store: Store) -> None:
    store.commit("k", {"a": b"{}"})
    store.remove("k/a")
    with pytest.warns(DamagedArtifactWarning, match="missing"):
        assert store.load("k") is None


def test_nothing_there_is_nothing(store: Store) -> None:
    assert store.committed() == frozenset()
    assert store.read("x/y") is None
    assert store.load("x") is None
    store.remove("x")


def test_the_url_means_the_same_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("./results/study")
    store.commit("k", {"a": b"1"})
    monkeypatch.chdir("/")
    assert Store(store.url).load("k") == {"a": b"1"}


def test_local_writes_leave_no_parts_behind(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.commit("k", {"a": b"1"})
    assert sorted(os.listdir(tmp_path / "k")) == [DONE, "a"]


def test_files_below_a_url_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b/2", "a/1"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(name.encode())
    found = find_files(str(tmp_path))
    assert [url.rpartition("/")[2] for url in found] == ["1", "2"]
    with open_url(found[0]) as file:
        assert file.read() == b"a/1"


def test_unknown_protocols_are_refused() -> None:
    with pytest.raises(ValueError, match="nope"):
        Store("nope://bucket")


def test_fsspec_caches_do_not_hide_what_another_process_wrote(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "s"))
    assert store.committed() == frozenset()
    other = fsspec.filesystem("file", skip_instance_cache=True)
    other.makedirs(str(tmp_path / "s" / "k"))
    other.pipe_file(str(tmp_path / "s" / "k" / DONE), b"{}")
    assert store.committed() == {"k"}
