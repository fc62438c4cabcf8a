"""A finished study whose files are altered, cut or gone: the plan notices each, and the same command mends it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lion_ray.store import DamagedArtifactWarning, Store, layout
from lion_ray.store.layout import CLOCK
from lion_ray.study import index
from lion_ray.study.plan import Plan, make_plan
from tests.conftest import STUDY
from tests.support.small_runs import artifacts, experiment, run

SETTINGS = ("lottery.rounds=2", "lottery.controls=[random_ticket]", "lottery.rewind={epoch: 1}")
Damage = Callable[[Path], object]


def flip(file: Path) -> None:
    payload = bytearray(file.read_bytes())
    payload[len(payload) // 2] ^= 1
    file.write_bytes(payload)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


DAMAGES: dict[str, Damage] = {"flip": flip, "cut": cut, "delete": Path.unlink}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undamaged")
    (folder / "tiny.yaml").write_text(STUDY.format(storage=folder))
    run(experiment(folder / "tiny.yaml", *SETTINGS), Store(str(folder / "store")))
    return folder / "store"


@pytest.fixture
def finished(study_file: Path, tmp_path: Path, undamaged: Path) -> Store:
    store = Store(str(shutil.copytree(undamaged, tmp_path / "store")))
    assert not plan(study_file, store).pending
    return store


def plan(study_file: Path, store: Store, *, verify: bool = False, keep: bool = True) -> Plan:
    return make_plan([experiment(study_file, *SETTINGS)], store, verify=verify, keep=keep)


def spied(name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that a method of every store is called with from now on."""
    seen: list[str] = []
    method = getattr(Store, name)

    def noted(self: Store, path: str = "") -> Any:
        seen.append(path)
        return method(self, path)

    monkeypatch.setattr(Store, name, noted)
    return seen


def files_of(store: Store) -> list[Path]:
    """All of a study's artifacts; a clock is none."""
    paths = [path for path in store.paths() if path.startswith("experiments/") and not path.endswith(CLOCK)]
    return [Path(store.path(path)) for path in paths]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_plan_notices_damage_of_every_single_file(study_file: Path, finished: Store, damage: str) -> None:
    files = files_of(finished)
    assert len(files) == 3 + 4 + 3 + 3  # start, round 0 with its point, round 1, its control
    for file in files:
        whole = file.read_bytes()
        DAMAGES[damage](file)
        with pytest.warns(DamagedArtifactWarning, match="counts as absent"):
            assert plan(study_file, finished).pending, file
        file.write_bytes(whole)
        assert not plan(study_file, finished).pending, file


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_clock_is_no_artifact_and_whatever_becomes_of_it_costs_no_round(
    study_file: Path, finished: Store, damage: str
) -> None:
    (folder,) = Path(finished.path("experiments")).iterdir()
    clock, before = folder / "round-0" / CLOCK, plan(study_file, finished).items[0].rounds
    DAMAGES[damage](clock)
    assert not plan(study_file, finished).pending
    clock.write_text("[" * 200_000)
    assert plan(study_file, finished).items[0].rounds[0].seconds is None
    clock.write_text('{"seconds": 7.5, "finished": 1}')  # another driver's, or that of an upload that came twice
    (now,) = plan(study_file, finished).items
    assert now.rounds == (dataclasses.replace(before[0], seconds=7.5, finished=1.0), before[1])
    clock.unlink()
    assert plan(study_file, finished).items[0].rounds[0].seconds is None


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_damaged_is_made_again_to_the_same_bits(study_file: Path, finished: Store, damage: str) -> None:
    before = artifacts(finished)
    (folder,) = Path(finished.path("experiments")).iterdir()
    for name in ("start/start.safetensors", "round-0/point.safetensors", "round-1-random_ticket/ticket.safetensors"):
        DAMAGES[damage](folder / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedArtifactWarning)
        run(experiment(study_file, *SETTINGS), finished)
        assert not plan(study_file, finished).pending
    assert artifacts(finished) == before


def test_damage_that_no_listing_shows_is_found_on_request(
    study_file: Path, finished: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Store.listing
    shown = {folder: listing(finished, folder) for folder in ("experiments", "index", "shards")}
    flip(next(file for file in files_of(finished) if file.name == "ticket.safetensors"))
    monkeypatch.setattr(Store, "listing", lambda self, folder="": shown[folder])
    assert not plan(study_file, finished).pending
    with pytest.warns(DamagedArtifactWarning):
        assert plan(study_file, finished, verify=True).pending


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("sharded", [False, True])
def test_the_index_is_derived_and_made_again(
    study_file: Path, finished: Store, damage: str, sharded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan(study_file, finished)
    if sharded:
        monkeypatch.setattr(index, "LOOSE_ENTRIES", 0)
        plan(study_file, finished, verify=True)
    assert (len(finished.listing("shards")), len(finished.listing("index"))) == (sharded, not sharded)
    for folder in ("index", "shards"):
        for path in finished.listing(folder):
            DAMAGES[damage](Path(finished.path(path)))
            assert plan(study_file, finished) == whole
            assert plan(study_file, finished) == whole
    assert (len(finished.listing("shards")), len(finished.listing("index"))) == (sharded, not sharded)


def test_a_finished_study_is_planned_without_reading_its_artifacts(
    study_file: Path, finished: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "LOOSE_ENTRIES", 0)
    whole = plan(study_file, finished, verify=True)
    read = spied("read", monkeypatch)
    assert plan(study_file, finished) == whole
    assert [path.partition("/")[0] for path in read] == ["schedule", "shards"]
    monkeypatch.setattr(index, "LISTED_FILES", 0)
    listed = spied("listing", monkeypatch)
    assert plan(study_file, finished) == whole
    assert listed == ["index", "shards"]  # of a huge study only what is unfinished is looked into
    more = make_plan([experiment(study_file, *SETTINGS, "lottery.rounds=3")], finished)
    assert len(more.pending) == 1
    assert listed[-1].startswith("experiments/mnist-")


def test_an_experiment_that_has_just_ended_is_indexed_by_itself(
    study_file: Path, finished: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan(study_file, finished)
    finished.remove("index")
    index.renew(finished, whole.items[0].experiment.name)
    read = spied("read", monkeypatch)
    assert plan(study_file, finished) == whole
    assert not [path for path in read if path.startswith("experiments/")]


def test_a_dry_run_writes_nothing(study_file: Path, finished: Store) -> None:
    finished.remove("index")
    before = finished.paths()
    plan(study_file, finished, keep=False)
    assert finished.paths() == before


def test_an_experiment_that_goes_on_is_read_again(study_file: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    for rounds in (1, 2, 3):
        longer = experiment(study_file, f"lottery.rounds={rounds}")
        run(longer, store)
        found = make_plan([longer], store)
        assert [record.round for record in found.items[0].rounds] == list(range(rounds))
    (path,) = store.listing("index")
    assert len(json.loads((store.read(path) or b"").partition(b"\n")[2])["rounds"]) == 3


def test_what_a_killed_compaction_leaves_is_overruled_by_newer_entries(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(str(tmp_path / "store"))
    shorter, longer = (experiment(study_file, f"lottery.rounds={rounds}") for rounds in (1, 2))
    monkeypatch.setattr(index, "LOOSE_ENTRIES", 0)
    run(shorter, store)
    make_plan([shorter], store)
    (old,) = store.listing("shards")
    run(longer, store)
    with monkeypatch.context() as killed:
        killed.setattr(Store, "remove_files", lambda *_: None)
        make_plan([longer], store)
    assert old in store.listing("shards")
    assert len(store.listing("index")) == 1
    monkeypatch.setattr(index, "LISTED_FILES", 0)
    assert [len(item.rounds) for item in make_plan([longer], store).items] == [2]
    assert old not in store.listing("shards")


@pytest.mark.parametrize("payload", [b"{}", b"[]", b"[" * 200_000])
def test_a_marker_that_lists_nothing_is_damage(finished: Store, payload: bytes) -> None:
    finished.write("experiments/other/round-0/DONE", payload)
    with pytest.warns(DamagedArtifactWarning):
        assert finished.load("experiments/other/round-0") is None


def test_everything_that_a_study_leaves_is_in_the_layout(finished: Store) -> None:
    assert [path for path in finished.paths() if not layout.is_known(path)] == []
    assert not layout.is_known("experiments/a/round-0/notes.txt")
    assert not layout.is_known("study.json")
