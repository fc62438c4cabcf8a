"""Backbone weights are asked for once, kept in the study's store, and read from there by whoever trains."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load, save

from lion_ray import backbones, config, pipeline
from lion_ray.backbones import node
from lion_ray.config import BackboneConfig, StudyError
from lion_ray.experiments import expand
from lion_ray.store import DamagedArtifactWarning, StorageError, Store, layout
from lion_ray.store.local import node_folder
from lion_ray.sweep import cluster
from lion_ray.sweep import run as sweep_run
from lion_ray.sweep.capacity import Capacity
from tests.support.small_runs import artifacts, run

SETTINGS = ["methods=[{name: lion, input: false}]", "lottery.rounds=1", "train.epochs=1"]


class Origin(ThreadingHTTPServer):
    """A web server with one file of weights, in the place of a hub; it notes who asks."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/w.safetensors"
        self.asked: list[str] = []
        self.payload = weights(seed=1)


class _Handler(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        self.server.asked.append("GET")
        self._send(self.server.payload)

    def do_HEAD(self) -> None:
        self.server.asked.append("HEAD")
        self._send(b"")

    def _send(self, payload: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def weights(seed: int) -> bytes:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return save(timm.create_model("test_efficientnet").state_dict())


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def section(origin: Origin) -> BackboneConfig:
    return BackboneConfig(name="test_efficientnet", weights=origin.url, image_size=32)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh node: its copies in a folder of this test, nothing loaded."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    forget()
    return node_folder("weights")


def forget() -> None:
    """As in a fresh process."""
    from lion_ray.backbones import staging

    staging._loaded.clear()


def flip(file: Path) -> None:
    payload = bytearray(file.read_bytes())
    payload[len(payload) // 2] ^= 1
    file.write_bytes(payload)


def same(one: backbones.Backbone, other: backbones.Backbone) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.usefixtures("embedded_ray")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_origin_is_asked_once_whoever_trains_and_never_again(
    study_file: Path, tmp_path: Path, origin: Origin, section: BackboneConfig, workers: int
) -> None:
    backbone = f"backbone={{name: {section.name}, weights: '{origin.url}', image_size: 32}}"
    seeds = [0, 1] if workers == 1 else [0]
    overrides = [*SETTINGS, f"seeds={seeds}", backbone, f"resources.workers={workers}"]
    arguments = [str(study_file), *(part for each in overrides for part in ("--set", each))]
    assert pipeline.main(arguments) == 0
    assert origin.asked.count("GET") == 1
    store = Store(str(tmp_path / "results" / "tiny"))
    before = artifacts(store)
    if workers == 1:
        unstaged = Store(str(tmp_path / "unstaged"))
        for experiment in expand(config.load(study_file, overrides)):
            run(experiment, unstaged)
        made = artifacts(unstaged)
        assert {path: before[path] for path in made} == made
        assert len([path for path in made if path.endswith("ticket.safetensors")]) == 2

    origin.asked.clear()
    origin.payload = weights(seed=2)
    more = ["--set", "seeds=[0, 1, 2]"] if workers == 1 else []
    assert pipeline.main([*arguments, *more]) == 0
    assert origin.asked == []
    after = artifacts(store)
    assert {path: after[path] for path in before} == before
    assert bool(more) == (len(after) > len(before))


def test_staged_weights_are_those_of_their_origin_for_models_of_every_kind(tmp_path: Path, here: Path) -> None:
    for number, section in enumerate(
        (
            BackboneConfig(name="tf_efficientnet_lite0", weights="package", image_size=64),
            BackboneConfig(name="test_vit", weights="random", image_size=96, crop="center"),
            BackboneConfig(name="resnet18", weights="random"),
        )
    ):
        store = Store(str(tmp_path / str(number)))
        fresh = backbones.stage(backbones.resolve(section, store), store)
        again = backbones.resolve(section, store)
        found, direct = backbones.load_staged(again, store), backbones.load(section)
        assert fresh == again
        assert again.state is None
        assert same(found, direct)
        assert (found.transform, found.weights_digest) == (direct.transform, direct.weights_digest)
        assert len(list(here.iterdir())) == number + 1


@pytest.mark.parametrize("damage", [flip, lambda file: file.write_bytes(b""), Path.unlink])
def test_damaged_staged_weights_are_made_again(
    tmp_path: Path, here: Path, origin: Origin, section: BackboneConfig, damage: Any
) -> None:
    store = Store(str(tmp_path / "store"))
    resolved = backbones.stage(backbones.resolve(section, store), store)
    file = Path(store.path(f"{resolved.key}/weights.safetensors"))
    whole = file.read_bytes()
    damage(file)
    with pytest.raises(StorageError, match="run the same command again"), pytest.warns(DamagedArtifactWarning):
        backbones.load_staged(resolved, store)
    with pytest.warns(DamagedArtifactWarning, match="counts as absent"):
        backbones.stage(resolved, store)
    assert file.read_bytes() == whole
    assert origin.asked.count("GET") == 2
    assert same(backbones.load_staged(resolved, store), backbones.load(section))


def test_a_node_that_does_not_see_the_drivers_folder_says_so_whatever_it_holds_a_copy_of(
    tmp_path: Path, here: Path, section: BackboneConfig
) -> None:
    store = Store(str(tmp_path / "store"))
    resolved = backbones.stage(backbones.resolve(section, store), store)
    backbones.load_staged(resolved, store)
    elsewhere = Store(str(tmp_path / "of_another_machine"))
    forget()
    with pytest.raises(StorageError, match=r"does not see the folder of the driver; several nodes need a URL"):
        backbones.load_staged(resolved, elsewhere)


@pytest.mark.usefixtures("embedded_ray")
def test_nodes_are_asked_whether_they_see_the_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = BackboneConfig(name="test_efficientnet", weights="random", image_size=32)
    store = Store(str(tmp_path))
    resolved = backbones.stage(backbones.resolve(section, store), store)
    two = Capacity(nodes=[{"CPU": 1.0}] * 2)
    monkeypatch.setattr(cluster, "capacity", lambda: two)
    sweep_run._make_sure_that_nodes_see(store, resolved, "s.yaml")
    store.remove(resolved.key)
    with pytest.raises(StudyError, match=r"storage: '.*' is a folder of this machine that node \S+ does not see"):
        sweep_run._make_sure_that_nodes_see(store, resolved, "s.yaml")


def test_weights_that_are_lost_and_no_longer_at_their_origin_are_said(
    tmp_path: Path, origin: Origin, section: BackboneConfig
) -> None:
    store = Store(str(tmp_path))
    resolved = backbones.stage(backbones.resolve(section, store), store)
    store.remove(resolved.key)
    origin.payload = weights(seed=2)
    with pytest.raises(StudyError, match=r"now holds other weights .* delete .*/backbone to begin anew"):
        backbones.stage(resolved, store)
    store.remove("backbone")
    assert backbones.resolve(section, store).weights_digest != resolved.weights_digest


@pytest.mark.parametrize("record", [b"{}", b"[]", b"cut", b"[" * 200_000])
def test_a_record_of_a_section_that_says_nothing_counts_as_absent(
    tmp_path: Path, origin: Origin, record: bytes
) -> None:
    store = Store(str(tmp_path))
    section = BackboneConfig(name="test_efficientnet", weights=origin.url, image_size=32)
    whole = backbones.stage(backbones.resolve(section, store), store)
    (key,) = [path.rpartition("/")[0] for path in store.paths() if path.endswith(f"/{layout.RESOLVED}")]
    store.commit(key, {layout.RESOLVED: record})
    with pytest.warns(DamagedArtifactWarning, match=f"{key} counts as absent"):
        again = backbones.resolve(section, store)
    assert again.weights_digest == whole.weights_digest


def test_another_section_is_resolved_by_itself(tmp_path: Path, origin: Origin, section: BackboneConfig) -> None:
    store = Store(str(tmp_path))
    first = backbones.stage(backbones.resolve(section, store), store)
    larger = section.model_copy(update={"image_size": 48})
    second = backbones.stage(backbones.resolve(larger, store), store)
    assert (first.transform.size, second.transform.size) == (32, 48)
    assert backbones.resolve(section, store) == first
    assert len([path for path in store.paths() if path.endswith("weights.safetensors")]) == 1


def test_whoever_trains_on_one_node_reads_the_store_once_and_a_damaged_copy_is_replaced(
    here: Path, section: BackboneConfig
) -> None:
    payload, fetched = weights(seed=1), []
    digest = backbones.state_digest(load(payload))

    def fetch() -> bytes:
        fetched.append(1)
        time.sleep(0.1)
        return payload

    def at_once(number: int) -> int:
        """The lock belongs to an opened file, so threads stand in for processes."""
        fetched.clear()
        with ThreadPoolExecutor(number) as threads:
            states = list(threads.map(lambda _: node.on_this_node(digest, fetch), range(number)))
        assert {backbones.state_digest(state) for state in states} == {digest}
        return len(fetched)

    assert at_once(4) == 1
    (copy,) = here.iterdir()
    assert here.stat().st_mode & 0o777 == 0o700
    flip(copy)
    (here / "left.part").write_bytes(b"of a process that was killed")
    (here / "old.safetensors").write_bytes(b"unused")
    os.utime(here / "old.safetensors", (0, 0))
    assert at_once(4) == 1
    assert at_once(1) == 0
    assert list(here.iterdir()) == [copy]


def test_a_node_without_room_for_a_copy_goes_on(
    tmp_path: Path, here: Path, section: BackboneConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "store"))
    resolved = backbones.stage(backbones.resolve(section, store), store)

    def full(self: Path, payload: bytes) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert same(backbones.load_staged(resolved, store), backbones.load(section))
    assert list(here.iterdir()) == []
