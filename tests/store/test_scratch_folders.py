"""Scratch folders: gone at the end, however the process that made them ended."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from lion_ray.backbones import node, state_digest
from lion_ray.data.decode import mapping
from lion_ray.store.local import is_private, node_folder, private_folder, remove_abandoned, scratch_folder

HOLD = (
    "from lion_ray.store.local import scratch_folder\n"
    "with scratch_folder('tune') as folder: print(folder, flush=True), input()"
)


def test_what_a_killed_process_left_is_deleted_at_the_next_start_and_nothing_of_a_living_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    others = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    killed, living = (other.stdout.readline().strip() for other in others if other.stdout)
    others[0].send_signal(signal.SIGKILL)
    others[0].wait()
    assert {str(path) for path in tmp_path.iterdir()} == {killed, living}
    with scratch_folder("train") as own:
        assert {str(path) for path in tmp_path.iterdir()} == {living, own}
    others[1].communicate("\n")
    others[0].communicate()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's folder for temporary files, which every user may write to."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def of_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is there now is another user's."""
    uid = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)


def test_a_folder_that_somebody_else_made_or_put_a_link_to_is_not_trusted(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert private_folder(shared / "own").stat().st_mode & 0o777 == 0o700
    elsewhere = shared.parent / "elsewhere"
    elsewhere.mkdir()
    (shared / "link").symlink_to(elsewhere)
    with pytest.raises(OSError, match="link"):
        private_folder(shared / "link")
    assert not is_private(shared / "link")
    assert not is_private(shared)
    of_somebody_else(shared / "own", monkeypatch)
    with pytest.raises(PermissionError, match="belongs to another user"):
        private_folder(shared / "own")
    assert not is_private(shared / "own")


def test_decoded_pixels_lie_where_nobody_else_writes(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = shared / "named"
    assert mapping.own_folder(named) == named
    named.chmod(0o777)
    assert mapping.own_folder(named) == named / node_folder("decoded").parent.name
    assert mapping.own_folder(node_folder("decoded")) == node_folder("decoded")
    of_somebody_else(named, monkeypatch)
    for folder in (named, node_folder("decoded")):
        with pytest.raises(PermissionError):
            mapping.own_folder(folder)


def test_weights_of_a_node_are_fetched_where_their_folder_is_somebody_elses(shared: Path) -> None:
    state = {"w": torch.ones(2)}
    victim = shared.parent / "home"
    victim.mkdir()
    (victim / "old.part").write_text("mine")
    node_folder("weights").parent.mkdir(mode=0o700)
    node_folder("weights").symlink_to(victim)
    with pytest.warns(UserWarning, match="cannot be used, so each process fetches weights itself"):
        found = node.on_this_node(state_digest(state), lambda: save(state))
    assert torch.equal(found["w"], state["w"])
    assert [path.name for path in victim.iterdir()] == ["old.part"]


def test_what_is_kept_for_later_outlives_every_sweep(shared: Path) -> None:
    state = {"w": torch.ones(2)}
    fetched: list[int] = []

    def fetch() -> bytes:
        fetched.append(1)
        return save(state)

    pixels = mapping.own_folder(node_folder("decoded")) / "set.pixels"
    pixels.write_bytes(b"decoded")
    for purpose in ("tune", "train"):
        node.on_this_node(state_digest(state), fetch)
        with scratch_folder(purpose):
            remove_abandoned()
    assert fetched == [1]
    assert pixels.exists()


def test_a_cleaner_of_temporary_files_costs_a_fetch_and_no_more(shared: Path) -> None:
    state = {"w": torch.ones(2)}
    digest, over = state_digest(state), threading.Event()

    def clean() -> None:
        while not over.is_set():
            shutil.rmtree(node_folder("weights"), ignore_errors=True)

    with warnings.catch_warnings(), ThreadPoolExecutor(1) as threads:
        warnings.simplefilter("ignore")  # a folder that was deleted twice in a row is said
        threads.submit(clean)
        try:
            for _ in range(200):
                assert torch.equal(node.on_this_node(digest, lambda: save(state))["w"], state["w"])
        finally:
            over.set()


def test_scratch_folders_of_others_and_links_are_left_alone(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = shared.parent / "home"
    victim.mkdir()
    (shared / "lion_ray_scratch-link").symlink_to(victim)
    (shared / "lion_ray_scratch-tune-x").mkdir()
    with monkeypatch.context() as patch:
        of_somebody_else(shared, patch)
        remove_abandoned()
        assert (shared / "lion_ray_scratch-tune-x").is_dir()
    remove_abandoned()
    assert not (shared / "lion_ray_scratch-tune-x").exists()
    assert victim.is_dir()
