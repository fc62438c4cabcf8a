"""A storage that fails: what passes is waited out within the patience and said, what lasts is one line at once."""

from __future__ import annotations

import errno
import os
import pickle
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import s3fs
from fsspec.implementations.local import LocalFileSystem

from lion_ray.store import Outage, Patience, StorageError, Store, open_url, pieces, read_url, redacted
from lion_ray.store.faults import as_storage_error, is_transient
from lion_ray.store.filesystems import S3_CONFIG
from lion_ray.store.patience import has_answered, retry
from tests.conftest import SECRET
from tests.support.proxy import FaultyProxy, in_front_of

QUICK = Patience(seconds=20, first_pause=0.02, longest_pause=0.2, report_every=0.5)
PASSING = ["500", "503", "429", "reset", "hang", "cut"]


@pytest.fixture
def proxy(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """In front of the S3 server for everything in this process; an answer must begin within half a second."""
    monkeypatch.setitem(S3_CONFIG, "read_timeout", 0.5)
    with in_front_of(s3_server, monkeypatch) as server:
        yield server


@pytest.fixture
def said() -> list[Outage]:
    return []


@pytest.fixture
def store(s3_url: str, proxy: FaultyProxy, said: list[Outage]) -> Store:
    return Store(f"{s3_url}/study", patience=QUICK, on_outage=said.append)


@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_costs_time_only(store: Store, proxy: FaultyProxy, fault: str) -> None:
    times = 1 if fault == "hang" else 2
    proxy.inject(fault, times)
    store.commit("k", {"a": b"1" * 1000, "b": b"2"})
    for act in (lambda: store.load("k"), store.committed):
        proxy.inject(fault, times)
        assert act() in ({"a": b"1" * 1000, "b": b"2"}, {"k"})
    proxy.inject(fault, times)
    store.remove("k")
    assert proxy.times == 0
    assert store.paths() == []


def test_a_server_that_drips_bytes_counts_as_one_that_does_not_answer(
    store: Store, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "PIECE_SECONDS", 0.4)
    payload = os.urandom(2000)  # 50 s for half of it
    store.write("k", payload)
    for read in (store.read, lambda path: read_all(f"{store.url}/{path}")):
        proxy.inject("drip", times=2, wanted=lambda method, _: method == "GET")
        began = time.monotonic()
        assert read("k") == payload
        assert 0.8 <= time.monotonic() - began < 20
        assert proxy.times == 0
    store.write("large", large := os.urandom(2 * 2**20 + 5))
    assert store.read("large") == large


def read_all(url: str) -> bytes:
    with open_url(url) as file:
        return file.read()


def test_inner_repetitions_are_off_so_that_the_stated_patience_rules(store: Store, proxy: FaultyProxy) -> None:
    store.read("x")
    proxy.requests.clear()
    proxy.inject("503", times=3)
    began = time.monotonic()
    store.write("x", b"1")
    assert len(proxy.requests) == 4
    assert time.monotonic() - began < 3


def test_an_outage_is_said_while_it_lasts(store: Store, proxy: FaultyProxy, said: list[Outage]) -> None:
    def heal_once_it_was_said_twice() -> None:
        while len(said) < 2:
            time.sleep(0.02)
        proxy.heal()

    proxy.inject("reset")
    healing = threading.Thread(target=heal_once_it_was_said_twice, daemon=True)
    healing.start()
    store.commit("k", {"a": b"1"})
    healing.join()
    assert store.load("k") == {"a": b"1"}
    assert 2 <= len(said) <= 10
    assert re.match(rf"storage: {store.url}/k/a does not answer, retrying for 0:(20|1\d) more \(", str(said[0]))
    assert said[-1].seconds_left < said[0].seconds_left


def test_patience_ends_in_one_line_that_says_how_long_it_was(
    s3_url: str, proxy: FaultyProxy, said: list[Outage]
) -> None:
    store = Store(f"{s3_url}/study", patience=Patience(seconds=1, first_pause=0.1), on_outage=said.append)
    proxy.inject("500")
    with pytest.raises(StorageError, match=r"injected \(gave up after 0:0\d and \d+ attempts\).*study/k/a") as caught:
        store.commit("k", {"a": b"1"})
    assert "\n" not in str(caught.value)
    proxy.heal()
    assert store.paths() == []


def test_the_default_outlives_an_outage_of_a_minute_at_any_moment() -> None:
    patience = Patience()
    assert patience.seconds - patience.longest_pause >= 4 * 60
    assert {patience.pause(0) for _ in range(20)} != {patience.pause(0)}, "no jitter"
    assert all(0.1 <= patience.pause(0) <= 0.2 and patience.pause(99) <= 8 for _ in range(20))


def test_a_refusal_is_said_at_once_and_leaves_nothing(store: Store, proxy: FaultyProxy, said: list[Outage]) -> None:
    store.read("x")
    proxy.requests.clear()
    proxy.inject("403")
    with pytest.raises(PermissionError, match=r"injected.*study/k/a") as caught:
        store.commit("k", {"a": b"1"})
    assert isinstance(caught.value, StorageError)
    assert len(proxy.requests) == 1
    assert not said
    proxy.heal()
    assert store.paths() == []


def test_a_missing_bucket_is_said_at_once(s3_server: str, said: list[Outage]) -> None:
    store = Store("s3://no-such-bucket-here/study", on_outage=said.append)
    with pytest.raises(FileNotFoundError, match=r"bucket does not exist: 's3://no-such-bucket-here/study"):
        store.write("a", b"1")
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        store.listing()
    assert not said


def test_what_a_service_adds_for_itself_is_left_out() -> None:
    azure = RuntimeError(
        "The specified container does not exist.\nRequestId:8c73\nTime:2026 ErrorCode:ContainerNotFound"
    )
    told = str(as_storage_error(azure, "az://none/x"))
    assert told == "[Errno 5] RuntimeError: The specified container does not exist.: 'az://none/x'"


def test_a_full_disk_is_said_at_once_and_keeps_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path))
    store.write("a", b"old")

    def full(self: LocalFileSystem, path: str, value: bytes) -> None:
        Path(path).write_bytes(value[:1])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(LocalFileSystem, "pipe_file", full)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        store.write("a", b"new")
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == ["a"]
    assert store.read("a") == b"old"


def test_a_file_that_is_being_read_survives_an_outage(s3_url: str, proxy: FaultyProxy) -> None:
    payload = os.urandom(3 * 2**20)
    Store(s3_url).write("big", payload)
    with open_url(f"{s3_url}/big") as file:
        first = file.read(10)
        proxy.inject("reset", times=2)
        file.seek(2 * 2**20)
        assert file.read(20) == payload[2 * 2**20 :][:20]
        file.seek(-5, os.SEEK_END)
        assert file.read() == payload[-5:]
    assert first == payload[:10]
    proxy.inject("503", times=2)
    assert read_url(f"{s3_url}/big") == payload


@pytest.mark.parametrize(
    ("fault", "passes"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), True),
        (TimeoutError("slow"), True),
        (OSError(-3, "Temporary failure in name resolution"), False),  # only `socket.gaierror` is about names
        (OSError(errno.ENOSPC, "full"), False),
        (OSError(errno.EDQUOT, "quota"), False),
        (OSError(errno.EIO, "a broken disk"), False),
        (PermissionError(errno.EACCES, "no"), False),
        (FileNotFoundError(errno.ENOENT, "no"), False),
        (ValueError("what is this"), False),
    ],
)
def test_every_kind_has_its_class(fault: Exception, passes: bool) -> None:
    assert is_transient(fault) is passes


@pytest.mark.parametrize("read", [read_url, read_all])
def test_web_servers_that_do_not_resolve_or_are_overloaded_are_asked_again(
    proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], read: Any
) -> None:
    monkeypatch.setattr("lion_ray.store.patience._answered", set())
    monkeypatch.setenv("LION_RAY_STORAGE_PATIENCE", "1.5")
    has_answered("http://no-such-host.invalid/x")
    with pytest.raises(StorageError, match="gave up after"):
        read("http://no-such-host.invalid/w.safetensors")
    assert "storage: http://no-such-host.invalid/w.safetensors does not answer, retrying" in capsys.readouterr().err
    proxy.inject("503")
    with pytest.raises(StorageError, match="gave up after"):
        read(f"{proxy.url}/w.safetensors")
    proxy.heal()
    with pytest.raises(FileNotFoundError, match="bucket-that-is-not"):
        read(f"{proxy.url}/bucket-that-is-not/w.safetensors")


def test_names_that_do_not_resolve_may_do_so_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lion_ray.store.patience._answered", set())
    monkeypatch.setattr(s3fs.S3FileSystem, "cachable", False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://nowhere.invalid:9")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    said: list[Outage] = []
    patience = Patience(seconds=1, first_pause=0.1, report_every=0)
    has_answered("s3://bucket/x")
    with pytest.raises(StorageError, match="gave up after"):
        Store("s3://bucket/x", patience=patience, on_outage=said.append).read("a")
    assert said


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("cannot read s3://AKIA:wJal/rXUt+x@bucket/a b", "cannot read s3://***@bucket/a b"),
        ("https://token@host/x", "https://***@host/x"),
        ("'https://h/x?a=1&X-Amz-Signature=abc&sig=1'", "'https://h/x?a=1&X-Amz-Signature=***&sig=***'"),
        ("https://h/x?token=abc", "https://h/x?token=***"),
        ("s3://bucket/key?versionId=3", "s3://bucket/key?versionId=3"),
        ("mail a@b.c", "mail a@b.c"),
        ("https://u:p@ss@host/x", "https://***@host/x"),
        ("simplecache::https://u:p@host/x", "simplecache::https://***@host/x"),
        (
            "zip://a.csv::s3://AKIA:wJal/rXUt@bucket/x and HTTPS://u:p@h",
            "zip://a.csv::s3://***@bucket/x and HTTPS://***@h",
        ),
        ("az://container:key@account/x", "az://***@account/x"),
    ],
)
def test_credentials_are_taken_out_of_urls(text: str, clean: str) -> None:
    assert redacted(text) == clean


@pytest.mark.parametrize(
    "url",
    [
        "https://host:8080/data/pets@v2.parquet",
        "http://[::1]:8000/a@b",
        "https://host/users/me:you@home/x",
        "file:///data/a:b@c",
        "zip://a:b@c.png::https://host/x.zip",
        "abfs://container@account.dfs.core.windows.net/x",
        "ABFSS://container@account.dfs.core.windows.net/a@b",
        "oci://bucket@namespace/x",
        "sftp://me@host/x",
        "hf://datasets/me/pets@main/x",
        "github://me:pets@main/x",
        "s3://arn:aws:s3:us-west-2:1:accesspoint/name/a@b",
    ],
)
def test_an_at_in_a_path_and_the_name_of_an_account_are_no_credentials(url: str) -> None:
    assert redacted(url) == url


def test_errors_and_stores_hold_no_credentials(s3_server: str) -> None:
    with pytest.raises(ValueError, match="holds credentials"):
        Store("s3://AKIA:planted@bucket/x")
    with pytest.raises(OSError) as caught:
        read_url("s3://AKIA:planted@bucket/x")
    assert "planted" not in str(caught.value)
    assert caught.value.__suppress_context__
    assert b"planted" not in pickle.dumps(caught.value)
    assert SECRET.encode() not in pickle.dumps(Store("s3://bucket/x"))


def test_a_host_of_no_known_name_is_given_up_at_once_unless_it_has_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("lion_ray.store.patience.UNKNOWN_SECONDS", 0.0)
    monkeypatch.setattr("lion_ray.store.patience._answered", set())
    outages: list[Outage] = []
    patient = Patience(seconds=0.5, first_pause=0.3)
    with pytest.raises(OSError, match="spelled right"):
        retry(unknown, "s3://misspelled/x", patience=patient, on_outage=outages.append)
    assert not outages
    with pytest.raises(OSError, match="spelled right"):
        open_url("http://misspelled.invalid/x")  # to make its filesystem is no answer
    retry(lambda: None, "s3://known/y", patience=patient)
    with pytest.raises(OSError, match=r"gave up after 0:0\d and \d+ attempts\)") as given_up:
        retry(unknown, "s3://known/x", patience=patient, on_outage=outages.append)
    assert "1 attempts" not in str(given_up.value)
