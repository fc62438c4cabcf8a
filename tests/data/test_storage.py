"""Three storages, one result: in memory, mapped from a node's file, streamed. Files survive kills and full disks."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lion_ray import backbones, data
from lion_ray.config import DatasetConfig, StudyError
from lion_ray.data import Dataset, SplitStorage, fit_in_memory, prefetch
from lion_ray.data.dataset import ArraySplit
from lion_ray.data.decode import mapping
from lion_ray.data.decode.mapping import MappedSplit, mapped
from lion_ray.data.decode.streaming import StreamedSplit
from lion_ray.experiments import Experiment
from lion_ray.store import Store
from lion_ray.training.workers import SingleWorker
from lion_ray.trial.trainer import run_experiment
from tests.data.test_decoding import noise, save
from tests.support.mapped_files import SHAPE, filled, make, started
from tests.support.small_runs import artifacts, decoded, experiment, run


@pytest.fixture(autouse=True)
def _own_files() -> Iterator[None]:
    """What this process maps ends with the test."""
    yield
    unmap()


def unmap() -> None:
    """As at the end of a process."""
    for _, lock in mapping._OPEN.values():
        lock.close()
    mapping._OPEN.clear()


def beyond(chosen: Experiment, folder: Path) -> Dataset:
    """The images of `chosen` with no memory for any of them."""
    transform = backbones.load(chosen.backbone).transform
    storage = SplitStorage(in_memory=frozenset(), cache=str(folder), identity=chosen.digest)
    return data.find(chosen.dataset).decode(size=transform.size, interpolation=transform.interpolation, storage=storage)


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()} - {"a.lock", "b.lock"}


@pytest.mark.parametrize("settings", [["methods=[linear]"], ["train.augment=crop_flip"]], ids=["features", "images"])
def test_without_memory_tickets_and_metrics_are_the_same_bits(
    study_file: Path, tmp_path: Path, settings: list[str]
) -> None:
    chosen = experiment(study_file, "lottery.rounds=2", *settings)
    rich, poor = Store(str(tmp_path / "rich")), Store(str(tmp_path / "poor"))
    run(chosen, rich)
    dataset: Dataset = pickle.loads(pickle.dumps(beyond(chosen, tmp_path / "cache")))  # noqa: S301 (our own)
    assert [type(split) for split in (dataset.train, dataset.val)] == [MappedSplit, StreamedSplit]
    with_files = run_experiment(
        chosen,
        dataset,
        poor,
        backbone=backbones.load(chosen.backbone),
        workers=SingleWorker(),
        device=torch.device("cpu"),
        on_epoch=lambda *_: None,
    )
    list(with_files)
    assert artifacts(poor) == artifacts(rich)


def test_features_that_are_too_many_to_keep_are_made_anew_to_the_same_bits(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, kept, anew = experiment(study_file, "methods=[linear]"), Store(f"{tmp_path}/a"), Store(f"{tmp_path}/b")
    run(chosen, kept)
    monkeypatch.setattr("lion_ray.training.batches.LIMIT_BYTES", 0)
    run(chosen, anew)
    tickets = [{key: value for key, value in artifacts(store).items() if "round" in key} for store in (kept, anew)]
    assert tickets[0].keys() == tickets[1].keys()
    assert tickets[0].items() == tickets[1].items()


def test_every_storage_gives_the_same_pixels(study_file: Path, tmp_path: Path) -> None:
    chosen = experiment(study_file)
    rich, poor = decoded(chosen), beyond(chosen, tmp_path)
    rows = np.array([7, 3, 3, 20])
    for one, other in ((rich.train, poor.train), (rich.val, poor.val), (rich.test, poor.test)):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.images, other.images)
        assert not other.images.flags.writeable
        gathered = other.gather(rows)
        np.testing.assert_array_equal(one.gather(rows), gathered)
        assert gathered.flags.writeable
        for size in (5, 100):
            chunks = [list(split.chunks(np.arange(1, 24, 2), size, num_threads=2)) for split in (one, other)]
            assert [len(chunk) for chunk in chunks[0]] == [len(chunk) for chunk in chunks[1]]
            np.testing.assert_array_equal(np.concatenate(chunks[0]), np.concatenate(chunks[1]))


def test_the_budget_goes_to_those_that_fit_in_their_order() -> None:
    sizes = {"train": 50, "other train": 60, "val": 40, "test": 20}
    assert fit_in_memory(sizes, 100) == {"train", "val"}
    assert fit_in_memory(sizes, 0) == frozenset()
    assert fit_in_memory(sizes, 1000) == set(sizes)


def test_a_broken_image_of_a_stream_is_told_by_file_and_a_file_of_broken_images_is_not_kept(tmp_path: Path) -> None:
    for split, num in (("train", 4), ("val", 40), ("test", 2)):
        for label in ("cat", "dog"):
            (tmp_path / "set" / split / label).mkdir(parents=True)
            for index in range(num):
                (tmp_path / "set" / split / label / f"{index:02}.png").write_bytes(save_noise(index))
    (tmp_path / "set" / "val" / "dog" / "07.png").write_bytes(b"broken")
    source = data.find(DatasetConfig(name="pets", url=str(tmp_path / "set")), source="s.yaml")
    storage = SplitStorage(in_memory=frozenset(), cache=str(tmp_path / "cache"), identity="pets")
    dataset = source.decode(size=8, storage=storage)
    says = r"s\.yaml: datasets\.pets: val/dog/07\.png: the image cannot be decoded"
    with pytest.raises(StudyError, match=says):
        list(dataset.val.chunks(np.arange(len(dataset.val)), 10, num_threads=2))
    dataset.train.prepare()
    (tmp_path / "set" / "train" / "cat" / "01.png").write_bytes(b"broken")
    other = source.decode(
        size=8, storage=SplitStorage(in_memory=frozenset(), cache=str(tmp_path / "c"), identity="other")
    )
    for _ in range(2):
        with pytest.raises(StudyError, match=r"train/cat/01\.png"):
            other.train.prepare()
    assert [file.suffix for file in (tmp_path / "c").iterdir()] == [".lock"]


def save_noise(seed: int) -> bytes:
    from PIL import Image

    return save(Image.fromarray(noise(9, 9, seed)))


def test_a_stream_holds_a_few_chunks_however_many_images_there_are(tmp_path: Path) -> None:
    """Of 300 MB decoded, at most a third is in memory (measured: a fifth, on a busy machine)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "set").mkdir()
    for split, num in (("train", 2), ("val", 2), ("test", 2000)):
        table = pa.table({"image": [save_noise(0)] * num, "label": [row % 2 for row in range(num)]})
        pq.write_table(table, tmp_path / "set" / f"{split}.parquet", row_group_size=100)
    storage = SplitStorage(in_memory=frozenset(), cache=str(tmp_path), identity="many")
    test = data.find(DatasetConfig(name="many", url=str(tmp_path / "set"))).decode(size=224, storage=storage).test
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory_kb("VmRSS")
    sums = [int(chunk[:, 0, 0, 0].sum()) for chunk in prefetch(test.chunks(np.arange(2000), 50, num_threads=2))]
    assert len(set(sums)) == 1
    assert len(sums) == 40
    assert memory_kb("VmHWM") - before < 100_000


def memory_kb(name: str) -> int:
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[name].split()[0])


def test_arrays_and_labels_are_read_only_in_every_process(study_file: Path, tmp_path: Path) -> None:
    dataset = beyond(experiment(study_file), tmp_path)
    split: Any = pickle.loads(pickle.dumps(dataset.train))  # noqa: S301 (our own)
    for array in (split.images, split.labels):
        with pytest.raises(ValueError, match="read-only"):
            array += 1
    with pytest.raises(AssertionError):
        ArraySplit(pixels=np.zeros((1, 2, 2, 3), dtype=np.uint8), labels=split.labels[:1])


def test_processes_of_one_node_make_a_file_once(tmp_path: Path) -> None:
    first = started(tmp_path / "c", 0.3)
    others = [started(tmp_path / "c", 0.0) for _ in range(3)]
    for process in (first, *others):
        process.join()
        assert process.exitcode == 0
    assert (tmp_path / "c" / "made").read_text() == "x"


def test_nobody_waits_for_who_already_maps_the_file(tmp_path: Path) -> None:
    make(tmp_path / "c")  # and holds it until this process ends
    other = started(tmp_path / "c", 0.0)
    other.join(timeout=30)
    assert other.exitcode == 0


def test_a_file_whose_maker_was_killed_is_made_again(tmp_path: Path) -> None:
    process = started(tmp_path / "c", 60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert files(tmp_path / "c") == {"a.pixels", "made"}
    make(tmp_path / "c")
    assert (tmp_path / "c" / "made").read_text() == "xx"
    assert files(tmp_path / "c") == {"a.pixels", "a.done", "made"}


def test_what_a_killed_maker_left_goes_when_another_file_is_made(tmp_path: Path) -> None:
    process = started(tmp_path / "c", 60)
    mapped(tmp_path / "c", "b", SHAPE, filled)
    assert "a.pixels" in files(tmp_path / "c")  # its maker lives
    process.kill()
    process.join()
    unmap()
    (tmp_path / "c" / "b.done").unlink()
    mapped(tmp_path / "c", "b", SHAPE, filled)
    assert files(tmp_path / "c") == {"b.pixels", "b.done", "made"}


def test_a_small_disk_loses_what_nobody_maps_and_then_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free, usage = 10_000, shutil.disk_usage(tmp_path)

    def with_files(folder: Path) -> Any:
        taken = sum(file.stat().st_size for file in folder.glob("*.pixels"))
        return usage._replace(free=free - taken)

    monkeypatch.setattr(shutil, "disk_usage", with_files)
    (num_bytes,) = {int(np.prod(SHAPE))}
    free = 2 * num_bytes + 1
    mapped(tmp_path, "a", SHAPE, filled)
    unmap()
    mapped(tmp_path, "b", SHAPE, filled)
    with pytest.raises(mapping.DiskFullError, match=r"GB free, .* need 0\.0 GB; name a folder on a larger disk"):
        mapped(tmp_path, "c", (30, 4, 4, 3), filled)  # larger than what a leaves; b is mapped
    assert {name for name in files(tmp_path) if not name.endswith(".lock")} == {"b.pixels", "b.done"}
    mapped(tmp_path, "d", SHAPE, filled)


def test_a_disk_that_fills_up_is_an_error_and_no_signal(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    dataset = beyond(experiment(study_file), tmp_path / "c")
    with pytest.raises(StudyError, match=r"study: data\.cache: .*/c has .* GB free, and"):
        dataset.train.prepare()
    (tmp_path / "file").touch()
    with pytest.raises(StudyError, match=r"data\.cache: .*/file/c cannot be used \(Not a directory\)"):
        beyond(experiment(study_file), tmp_path / "file" / "c").train.prepare()


def test_work_is_done_ahead_in_order_and_its_errors_come_in_their_place() -> None:
    made: list[int] = []

    def values() -> Iterator[int]:
        for value in range(6):
            if value == 4:
                raise ValueError("four")
            made.append(value)
            yield value

    seen, stream = [], prefetch(values())
    for value in (next(stream), next(stream)):
        seen.append(value)
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert made == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="four"):
        seen.extend(stream)
    assert seen == [0, 1, 2, 3]
