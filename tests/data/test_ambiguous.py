"""What lies in a source and may be read in two ways is refused by name; what a study finds wrong, it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lion_ray.data.build import building
from lion_ray.data.build.manifest import MANIFEST, parse
from lion_ray.data.readers import DataWarning
from lion_ray.data.verify.verifying import verify
from tests.support.small_sets import fault, look, parquet, png, put, tar

ENDS = ("png", "cls")


def listed(root: Path, header: str, rows: list[str]) -> str:
    """A CSV list beside eight images `0.png` to `7.png` in a folder `all`."""
    files: dict[str, bytes | str] = {f"all/{number}.png": png(number) for number in range(8)}
    return put(str(root), {**files, "list.csv": "\n".join([header, *rows]) + "\n"})


def samples(names: list[str], first: int = 0) -> dict[str, bytes]:
    """WebDataset members of these keys, labelled 0, 1, 0, ..."""
    return {
        f"{name}.{end}": png(first + number) if end == "png" else str(number % 2).encode()
        for number, name in enumerate(names)
        for end in ENDS
    }


def said(url: Path | str) -> list[str]:
    """What a study warns of."""
    source = look(str(url))
    with pytest.warns(DataWarning) as found:
        source.warn_of_faults()
    return [str(each.message).removeprefix("datasets.mine: ") for each in found]


@pytest.mark.parametrize(("train", "test"), [("trainset", "testset"), ("train", "TEST")])
def test_endings_in_capitals_and_words_with_set_are_read(tmp_path: Path, train: str, test: str) -> None:
    parquet(tmp_path / f"{train}.parquet", 0, 8)
    parquet(tmp_path / f"{test}.PARQUET", 50, 4)
    assert look(str(tmp_path)).found.sizes == {"train": 8, "test": 4}


def test_two_words_for_one_split_are_not_merged(tmp_path: Path) -> None:
    for name in ("train", "val", "dev"):
        parquet(tmp_path / f"{name}.parquet", 0, 4)
    assert fault(str(tmp_path)).startswith("dev and val both name val")
    files: dict[str, bytes | str] = {f"{s}/a/0.png": png(1) for s in ("train", "test", "testing")}
    assert fault(put(str(tmp_path / "folders"), files)).startswith("test and testing both name test")
    rows = [f"all/{number}.png,{number % 2},{word}" for number, word in enumerate(["train", "train", "val", "valid"])]
    assert fault(listed(tmp_path / "list", "path,label,split", rows)).startswith(
        "list.csv: val and valid both name val"
    )


def test_a_folder_of_images_with_a_splits_name_beside_classes_is_refused(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{name}/{n}.png": png(n) for name in ("cat", "dog", "testing") for n in range(4)}
    assert fault(put(str(tmp_path), files)).startswith("testing is a split's name, but images lie in it")


def test_a_column_that_tells_splits_is_heeded_or_refused(tmp_path: Path) -> None:
    splits = ["train"] * 4 + ["Test"] * 4
    rows = [f"all/{number}.png,{number % 2},{split}" for number, split in enumerate(splits)]
    assert look(listed(tmp_path / "a", "path,label,Split", rows)).found.sizes == {"train": 4, "test": 4}
    assert fault(listed(tmp_path / "b", "path,label,which", rows)) == (
        "list.csv: column 'which' tells test and train: call it 'split'"
    )
    parquet(tmp_path / "c/all.parquet", 0, 8, subset=splits)
    assert fault(str(tmp_path / "c")).startswith(
        "all.parquet: column 'subset' names test and all.parquet: column 'subset' names train"
    )
    parquet(tmp_path / "d/test-0.parquet", 0, 4, split=splits[4:])
    parquet(tmp_path / "d/train-0.parquet", 10, 4, split=splits[4:])
    assert fault(str(tmp_path / "d")).startswith("train-0.parquet: column 'split' names test, but the file's name says")


def test_a_list_of_no_split_that_names_folders_of_several_is_refused(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"img/{s}/{n}.png": png(n) for s in ("train", "test") for n in range(3)}
    files["list.csv"] = "path,label\n" + "".join(f"{path},{n % 2}\n" for n, path in enumerate(files))
    assert "folders of test and train, but no split: add a column 'split'" in fault(put(str(tmp_path), files))


def test_one_file_under_two_spellings_is_one_file(tmp_path: Path) -> None:
    root = listed(tmp_path, "path,label", ["all/0.png,0", "all/1.png,1"])
    Path(root, "list.csv").rename(Path(root, "train.csv"))
    put(root, {"test.csv": "path,label\n./all//0.png,0\nall/2.png,1\n"})
    assert "all/0.png of train is in test too" in fault(root)


def test_arrays_of_a_split_that_are_not_read_are_refused(tmp_path: Path) -> None:
    pixels, labels = np.zeros((6, 4, 4), dtype=np.uint8), np.arange(6) % 2
    pixels[:] = np.arange(6)[:, None, None]
    either = {"images_train": pixels, "labels_train": labels, "test_x": pixels, "test_y": labels}
    np.savez(tmp_path / "mine.npz", **either)  # type: ignore[arg-type]
    assert look(str(tmp_path)).found.sizes == {"train": 6, "test": 6}
    np.savez(tmp_path / "mine.npz", images=pixels, labels=labels, pixels_of_test=pixels, test_ids=labels)
    assert fault(str(tmp_path)).startswith("mine.npz: pixels_of_test names test and is not read")
    (tmp_path / "mine.npz").unlink()
    np.savez(tmp_path / "test.npz", images=pixels, labels=labels)
    assert fault(str(tmp_path)) == "there is test but no train split"


def test_what_a_tar_holds_of_several_splits_is_no_pool(tmp_path: Path) -> None:
    tar(tmp_path / "a.tar", samples([f"train/{n}" for n in range(4)]))
    tar(tmp_path / "b.tar", samples([f"test/{n}" for n in range(4)], 10))
    assert fault(str(tmp_path)).startswith("b.tar: test/0.cls names test and a.tar: train/0.cls names train")
    told = {f"{n}.json": json.dumps({"split": "test" if n > 2 else "train"}).encode() for n in range(4)}
    tar(tmp_path / "c/a.tar", samples([f"{n}" for n in range(4)]) | told)
    assert "3.json names test" in fault(str(tmp_path / "c"))


def test_a_key_may_begin_with_a_dot_and_never_means_two_samples(tmp_path: Path) -> None:
    junk = {"._0.png": b"x", "__MACOSX/._a": b"x", ".hidden.png": png(99), "a.txt": b"x"}
    tar(tmp_path / "train.tar", samples([".22LR-0", ".22LR-1", "a", "b"]) | junk)
    source = look(str(tmp_path))
    assert source.found.sizes == {"train": 4}
    assert source.found.notes[2:] == (
        "not used: 2 members (._0.png, __MACOSX/._a): left behind by a system or tool",
        "not used: 1 member (.hidden.png): hidden, its name begins with a dot",
        "not used: 1 member (a.txt): neither image nor label of a sample",
    )
    tar(tmp_path / "train.tar", samples(["2", "2.7-a"]))
    assert "2.7-a.cls may be of the sample 2.7-a or of 2" in fault(str(tmp_path))


def test_a_packed_test_split_is_not_cut_from_train_instead(tmp_path: Path) -> None:
    parquet(tmp_path / "train-0.parquet", 0, 8)
    put(str(tmp_path), {"test-0.parquet.gz": "x"})
    assert fault(str(tmp_path)).startswith("test-0.parquet.gz names test and cannot be read")
    parquet(tmp_path / "test-0.parquet", 50, 4)
    assert "not used: 1 file (test-0.parquet.gz)" in look(str(tmp_path)).found.notes[-1]


def test_missing_shards_and_empty_folders_are_told(tmp_path: Path) -> None:
    parquet(tmp_path / "train-00001-of-00003.parquet", 0, 8)
    (tmp_path / "val" / "dog").mkdir(parents=True)
    assert look(str(tmp_path)).found.notes[2:] == (
        "shards of train: 1 of 3 are here (train-*-of-00003)",
        "not used: 1 folder (val/dog): nothing is in it",
    )


def test_twins_in_a_pool_that_is_cut_are_told_by_study_memory_and_built_set(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"a/{n:02}.png": png(5) for n in range(16)}
    files |= {f"b/{n:02}.png": png(10 + n) for n in range(4)}
    root = put(str(tmp_path / "set"), files)
    told = said(root)
    leak = "images of test are in train, byte for byte: figures of test do not tell how new images fare"
    assert leak in told[0]
    assert said(root) == told  # as remembered
    with pytest.warns(DataWarning) as warned:
        building.build_named("mine", root, str(tmp_path / "built"))
    assert leak in str(warned[0].message)
    assert said(tmp_path / "built") == told
    assert {check.name: check.status for check in verify(str(tmp_path / "built"))}["train and test"] == "wrong"
    manifest = parse((tmp_path / "built" / MANIFEST).read_bytes())
    assert manifest.repeated == (" ".join(f"pool/{n}" for n in range(16)),)


def test_a_build_that_did_not_look_for_leaks_says_so(tmp_path: Path) -> None:
    parquet(tmp_path / "set/train.parquet", 0, 8)
    building.build_named("mine", str(tmp_path / "set"), str(tmp_path / "built"))
    file = tmp_path / "built" / MANIFEST
    values = json.loads(file.read_text())
    values.pop("repeated")
    file.write_text(json.dumps(values))
    assert f"{MANIFEST} does not say whether images of test are in train" in look(str(tmp_path / "built")).found.notes


def test_a_build_says_how_it_has_read_its_source(tmp_path: Path) -> None:
    parquet(tmp_path / "set/train.parquet", 0, 8)
    put(str(tmp_path / "set"), {"README.md": "x"})
    notes: list[str] = []
    building.build_named("mine", str(tmp_path / "set"), str(tmp_path / "built"), on_note=notes.append)
    assert tuple(notes) == look(str(tmp_path / "set")).found.notes
