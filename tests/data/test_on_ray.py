"""Decoded data on a real Ray: shared without a copy, the same results without memory, broken images end the sweep."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from PIL import Image

from lion_ray import backbones, config, pipeline
from lion_ray.experiments import expand
from lion_ray.store import Store
from lion_ray.sweep.shared_dataset import decode
from lion_ray.sweep.trial_inputs import TrialInputs, work_on
from tests.data.test_decoding import noise, save
from tests.support.small_runs import artifacts


def number_of(split: str, index: int) -> int:
    """A number of each image's own: no image of test is in train."""
    return 100 * len(split) + index


def arguments(study_file: Path, *overrides: str) -> list[str]:
    return [str(study_file), *(part for each in overrides for part in ("--set", each))]


@ray.remote(num_cpus=0)
def where(work: TrialInputs) -> list[str]:
    """What each split's pixels are mapped from in this process."""
    mapped: Any = work.open()
    mappings = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    found = []
    for split in (mapped.train, mapped.val, mapped.test):
        address = split.images.ctypes.data
        spans = ((part[0].split("-"), " ".join(part[5:])) for part in mappings)
        found.append(next(name for (low, high), name in spans if int(low, 16) <= address < int(high, 16)))
        assert not split.images.flags.writeable
    return found


@pytest.mark.usefixtures("embedded_ray")
def test_trials_share_one_copy_of_what_the_driver_decoded(study_file: Path) -> None:
    study = config.load(study_file, ["datasets=[{name: mnist, num_train: 48, num_val: 48, num_test: 48}]"])
    experiments = expand(study)
    (shared,) = decode(experiments, study, backbones.load(study.backbone).transform, "s.yaml").values()
    for places in ray.get([where.remote(work_on(experiments[0], shared)) for _ in range(2)]):
        assert all("plasma" in place for place in places), places


@pytest.mark.usefixtures("embedded_ray")
@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_sweep_without_memory_has_the_same_bits(study_file: Path, tmp_path: Path, workers: int) -> None:
    found = []
    for name, memory in (("rich", "null"), ("poor", "0")):
        overrides = [f"storage={tmp_path / name}", f"data.memory_gb={memory}", f"data.cache={tmp_path / 'cache'}"]
        overrides += ["methods=[{name: lion, input: false}]", "train.augment=randaugment", "lottery.rounds=2"]
        assert pipeline.main(arguments(study_file, *overrides, f"resources.workers={workers}")) == 0
        found.append(artifacts(Store(str(tmp_path / name / "tiny"))))
    assert found[0] == found[1]
    assert len(list((tmp_path / "cache").glob("*.done"))) == 1


def pets(folder: Path, broken: str) -> str:
    """An image folder of two classes, one file of it broken."""
    for split, num in (("train", 8), ("val", 4), ("test", 4)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for index in range(num):
                (folder / split / label / f"{index}.png").write_bytes(
                    save(Image.fromarray(noise(9, 9, number_of(split, index))))
                )
    (folder / broken).write_bytes(b"broken")
    return f"datasets=[{{name: pets, url: '{folder}'}}]"


@pytest.mark.usefixtures("embedded_ray")
@pytest.mark.parametrize(
    ("memory", "broken", "workers"),
    [("null", "test/dog/1.png", 1), ("0", "train/dog/1.png", 1), ("0", "test/dog/1.png", 2)],
)
def test_a_broken_image_is_one_line_and_exit_status_2_before_any_trial_or_where_it_is_reached(
    study_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    memory: str,
    broken: str,
    workers: int,
) -> None:
    overrides = [pets(tmp_path / "pets", broken), f"data.memory_gb={memory}", f"data.cache={tmp_path / 'cache'}"]
    overrides += ["methods=[{name: lion, input: {lr_multiplier: 1}}]", f"resources.workers={workers}"]
    assert pipeline.main(arguments(study_file, *overrides)) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert f"datasets.pets: {broken}: the image cannot be decoded" in said.err
    assert str(study_file) in said.err
    assert ("epoch" in said.out) == (memory == "0" and broken.startswith("test"))


@pytest.mark.usefixtures("embedded_ray")
def test_rounds_before_a_streamed_image_broke_stay_and_the_next_run_goes_on_from_them(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = pets(tmp_path / "pets", "test/dog/1.png")
    image = tmp_path / "pets/test/dog/1.png"
    image.write_bytes(whole := save(Image.fromarray(noise(9, 9, 999))))
    overrides = [dataset, "data.memory_gb=0", "methods=[lion]", "lottery.rounds=4"]

    def break_it() -> None:
        while not list((tmp_path / "results").glob("tiny/experiments/*/round-0/DONE")):
            time.sleep(0.02)
        image.write_bytes(b"broken")

    vandal = threading.Thread(target=break_it, daemon=True)
    vandal.start()
    assert pipeline.main(arguments(study_file, *overrides)) == 2
    vandal.join()
    assert "test/dog/1.png: the image cannot be decoded" in capsys.readouterr().err
    kept = list((tmp_path / "results").glob("tiny/experiments/*/round-*/DONE"))
    before = {done: done.stat().st_mtime_ns for done in kept}
    assert 1 <= len(before) < 4
    image.write_bytes(whole)
    assert pipeline.main(arguments(study_file, *overrides)) == 0
    assert {done: done.stat().st_mtime_ns for done in kept} == before


def test_the_pixels_of_a_gathered_batch_are_a_copy() -> None:
    from lion_ray.data.dataset import ArraySplit
    from lion_ray.data.pool import as_labels, read_only

    split = ArraySplit(pixels=read_only(np.zeros((4, 2, 2, 3), dtype=np.uint8)), labels=as_labels(range(4)))
    gathered = split.gather(np.arange(4))
    gathered += 1
    assert not split.images.any()
