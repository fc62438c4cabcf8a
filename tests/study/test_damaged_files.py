"""Damaged files of a study: every door that reads one gives figures, a warning or one line, and soon."""

from __future__ import annotations

import json
import random
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load, save

from lion_ray import backbones
from lion_ray.config import StudyError
from lion_ray.config import load as load_study
from lion_ray.report import comparison, evidence, listing, page, tables, trainings
from lion_ray.store import Lease, Store, digest
from lion_ray.study.index import survey
from lion_ray.training.workers import SingleWorker
from lion_ray.trial.stored_rounds import StoredRounds
from tests.conftest import STUDY
from tests.support.made_studies import finish, study
from tests.support.small_runs import experiment, run

SECONDS = 10.0
"""Far more than reading a damaged file of this size takes on a busy machine."""
OWN = study(datasets=["mnist"], methods=["linear", "lion"], seeds=[0], lottery={"rounds": 2, "prune": 0.5})
FIGURES = {("mnist", name, 0, number): 0.5 for name in ("linear", "lion") for number in (0, 1)}


def damaged(payload: bytes, draw: random.Random) -> bytes:
    """Some bits flipped, the end cut off, or a part left out or repeated; of small files often near the beginning."""
    if not payload:
        return b"\0"
    place = draw.randrange(len(payload) if draw.random() < 0.5 else min(len(payload), 2000))
    match draw.randrange(8):
        case 0:
            return payload[:place]
        case 1:
            return payload[:place] + payload[place + draw.randrange(1, 9) :]
        case 2:
            return payload[:place] + payload[place : place + 9] + payload[place:]
        case _:
            flipped = bytearray(payload)
            for _ in range(draw.choice((1, 1, 1, 4))):
                flipped[draw.randrange(place, min(len(payload), place + 16))] ^= 1 << draw.randrange(8)
            return bytes(flipped)


def soon(act: Callable[[], object], told: str) -> None:
    """Run `act`, which may refuse with one of the kinds that the doors print as one line, and nothing else."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            act()
        except (OSError, ValueError):
            pass
        except Exception as error:
            raise AssertionError(f"{told}: {error!r}") from error
    assert time.perf_counter() - began < SECONDS, told


def survives(act: Callable[[Store], object], folder: Path, num: int, seed: str, *, is_sealed: bool = False) -> None:
    """Damage one file after another and act; `is_sealed` gives damaged artifacts the digests of what they hold now."""
    draw, store = random.Random(seed), Store(str(folder))
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in ("DONE", "driver.json"))
    for number in range(num):
        file = draw.choice(files)
        before, marker = file.read_bytes(), file.parent / "DONE"
        listed = marker.read_bytes() if marker.exists() else None
        file.write_bytes(damaged(before, draw))
        if is_sealed and listed and file.name in (manifest := json.loads(listed)):
            manifest[file.name] = {"sha256": digest(file.read_bytes()), "size": file.stat().st_size}
            marker.write_text(json.dumps(manifest))
        soon(lambda: act(store), f"{seed} {number} {file.name}")
        file.write_bytes(before)
        if listed:
            marker.write_bytes(listed)


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reported") / "tiny"
    store = Store(str(folder))
    found = finish(store, OWN, FIGURES)
    survey(store, [each.name for each in found], is_finished=lambda name, rounds: True)
    (view,) = trainings.opened([str(folder)])
    tables.write(view.plan, OWN, store, {found[0].name: "ValueError: x"})
    shutil.rmtree(folder / "report")
    return folder


@pytest.fixture
def copied(reported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reported, tmp_path / "tiny"))


def look(store: Store) -> None:
    """What `tickets`, `compare` and `evidence` do."""
    listing.text(listing.tickets(store.url))
    rows = comparison.with_distinct_datasets(comparison.read_rows(store.url))
    comparison.text(rows, "linear")
    evidence.collect(rows)


def report(store: Store) -> None:
    page.files(trainings.opened([store.url]))


@pytest.mark.parametrize("is_sealed", [False, True])
def test_damaged_results_are_one_line_at_every_door(copied: Path, is_sealed: bool) -> None:
    survives(look, copied, 40, "look", is_sealed=is_sealed)
    survives(report, copied, 3, "report", is_sealed=is_sealed)


@pytest.mark.slow
@pytest.mark.parametrize("is_sealed", [False, True])
def test_damaged_results_by_the_thousand_are_one_line_at_every_door(copied: Path, is_sealed: bool) -> None:
    survives(look, copied, 2000, "many looks", is_sealed=is_sealed)
    survives(report, copied, 300, "many reports", is_sealed=is_sealed)


def test_damaged_pages_of_the_results_never_pass_for_others(copied: Path) -> None:
    draw, file = random.Random("pages"), copied / "results.parquet"
    payload, url = file.read_bytes(), str(copied)
    pages = len(payload) - 8 - int.from_bytes(payload[-8:-4], "little")  # behind them lies what describes them
    rows = repr(comparison.read_rows(url))  # some figures are nan
    for number in range(100):
        flipped = bytearray(payload)
        flipped[draw.randrange(pages)] ^= 1 << draw.randrange(8)
        file.write_bytes(flipped)
        try:
            found = repr(comparison.read_rows(url))
        except ValueError as error:
            found = str(error)
        assert found == rows or "results.parquet is damaged" in found, number


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(STUDY.format(storage=folder))
    settings = ("lottery.rounds=2", "lottery.rewind={epoch: 1}", "lottery.criterion=gradient_weight")
    chosen = experiment(folder / "tiny.yaml", *settings)
    run(chosen, Store(str(folder / "store")))
    return folder


def resumed(trained: Path) -> Callable[[Store], None]:
    """What a sweep reads of an experiment before it goes on."""
    settings = ("lottery.rounds=2", "lottery.rewind={epoch: 1}", "lottery.criterion=gradient_weight")
    chosen = experiment(trained / "tiny.yaml", *settings)
    backbone = backbones.load(chosen.backbone)

    def act(store: Store) -> None:
        ledger = StoredRounds(chosen, store, backbone=backbone, workers=SingleWorker(), classes=("0",))
        for number in (0, 1):
            found = ledger.load(number)
            if found is not None:
                ledger.checkpointer(number, "winning", found.mask).load()
        survey(store, [chosen.name], is_finished=lambda name, rounds: False, keep=False)

    return act


@pytest.mark.parametrize("is_sealed", [False, True])
def test_damaged_rounds_count_as_absent_to_a_sweep(trained: Path, tmp_path: Path, is_sealed: bool) -> None:
    folder = Path(shutil.copytree(trained / "store", tmp_path / "store"))
    survives(resumed(trained), folder, 12, "sweep", is_sealed=is_sealed)


@pytest.mark.slow
@pytest.mark.parametrize("is_sealed", [False, True])
def test_damaged_rounds_by_the_thousand_count_as_absent(trained: Path, tmp_path: Path, is_sealed: bool) -> None:
    folder = Path(shutil.copytree(trained / "store", tmp_path / "store"))
    survives(resumed(trained), folder, 1000, "many sweeps", is_sealed=is_sealed)


def test_a_round_whose_files_hold_something_else_is_trained_again(trained: Path, tmp_path: Path) -> None:
    store = Store(str(shutil.copytree(trained / "store", tmp_path / "store")))
    (key,) = [key for key in store.committed() if key.endswith("round-0")]
    files = store.load(key)
    assert files is not None
    store.commit(key, {**files, "point.safetensors": save({"x": load(files["point.safetensors"]).popitem()[1]})})
    with pytest.warns(UserWarning, match="round-0 counts as absent"):
        resumed(trained)(store)


TEXT = """# a study
study: tiny
storage: ./results
backbone: {name: test_efficientnet, weights: random, image_size: 48}
datasets: [digits, {name: own, url: "./set", val: 0.1}]
methods:
  - &first {name: lion, label: 'a b', train: {lr: 1.0e-3}, output: {width: 8}}
  - {<<: *first, label: "c", gamma: null}
seeds: [0, 1]
train: {epochs: 2, batch_size: 16, deterministic: true}
lottery: {rounds: 2, prune: 0.5}
"""


def reads(num: int, seed: str, folder: Path) -> None:
    draw, file = random.Random(seed), folder / "s.yaml"
    for number in range(num):
        file.write_bytes(damaged(TEXT.encode(), draw))

        soon(lambda: told(file), f"{seed} {number}")


def told(file: Path) -> None:
    """Read a study file; what is wrong with it is one line that names it."""
    try:
        load_study(file)
    except StudyError as error:
        text = str(error)
    else:
        return
    assert text.startswith(f"{file}: ")
    assert "\n" not in text


def test_damaged_study_files_are_one_line(tmp_path: Path) -> None:
    reads(150, "few", tmp_path)


@pytest.mark.slow
def test_damaged_study_files_by_the_thousand_are_one_line(tmp_path: Path) -> None:
    reads(5000, "many", tmp_path)


def test_a_damaged_lease_is_waited_for_like_any_other(tmp_path: Path) -> None:
    store, draw = Store(str(tmp_path)), random.Random("lease")
    with Lease(store, beat=60):
        whole = store.read("driver.json") or b""
    for _ in range(20):
        store.write("driver.json", damaged(whole, draw))
        with Lease(store, patience=0.01):
            pass
