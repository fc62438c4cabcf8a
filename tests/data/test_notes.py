"""Nothing that lies in a source is left out, merged or guessed without a line that says what and why."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lion_ray.data.readers import DataWarning, unlabelled
from lion_ray.data.readers.split_names import split_of
from lion_ray.data.verify.verifying import verify
from tests.support.small_sets import fault, look, parquet, png, put, tar


def sizes(url: str | Path) -> dict[str, int]:
    return look(str(url)).found.sizes


def notes(url: str | Path) -> list[str]:
    return list(look(str(url)).found.notes)


@pytest.mark.parametrize(
    ("path", "split", "of"),
    [
        ("train-00000-of-00002.parquet", "train", "."),
        ("pets_train.parquet", "train", "pets"),
        ("imagenet1k-validation-00.tar", "val", "imagenet1k"),
        ("Training.parquet", "train", "."),
        ("TEST.parquet", "test", "."),
        ("petsTest-3.tar", "test", "pets"),
        ("data/dev/0.tar", "val", "data"),
        ("default/partial-train/0000.parquet", "train", "default"),
        ("train800.csv", "train", "."),
        ("contest.parquet", "pool", "."),
        ("attested/strain-1.parquet", "pool", "attested"),
    ],
)
def test_a_name_tells_its_split_by_a_word_of_its_own(path: str, split: str, of: str) -> None:
    named = split_of(path)
    assert (named.split, named.of) == (split, of)


@pytest.mark.parametrize(("train", "test"), [("pets_train", "pets_test"), ("training", "testing"), ("Train", "TEST")])
def test_test_images_are_never_trained_on_for_their_files_names(tmp_path: Path, train: str, test: str) -> None:
    parquet(tmp_path / f"{train}.parquet", 0, 20)
    parquet(tmp_path / f"{test}.parquet", 50, 6)
    assert sizes(tmp_path) == {"train": 20, "test": 6}
    assert notes(tmp_path)[0] == (
        f"splits by the names of the files: train 1 file ({train}.parquet); test 1 file ({test}.parquet)"
    )


def test_what_may_be_any_split_is_refused(tmp_path: Path) -> None:
    parquet(tmp_path / "pets_eval.parquet", 0, 6)
    assert "'eval' does not tell whether this is train, val or test" in fault(str(tmp_path))
    (tmp_path / "pets_eval.parquet").rename(tmp_path / "train_or_test.parquet")
    assert fault(str(tmp_path)).startswith("train_or_test.parquet names train and test")
    parquet(tmp_path / "two/pets_train.parquet", 0, 6)
    parquet(tmp_path / "two/cars_train.parquet", 10, 6)
    assert "shards of several sets lie in cars, pets" in fault(str(tmp_path / "two"))


def test_folders_of_splits_in_any_words(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"Training/{c}/{n}.png": png(n + 9 * (c == "b")) for c in "ab" for n in range(5)}
    files |= {f"Testing/{c}/{n}.png": png(100 + n + 9 * (c == "b")) for c in "ab" for n in range(2)}
    assert sizes(put(str(tmp_path / "words"), files)) == {"train": 10, "test": 4}
    sets = {path.replace("ing/", "_set/"): payload for path, payload in files.items()}
    assert sizes(put(str(tmp_path / "sets"), sets)) == {"train": 10, "test": 4}


def test_arrays_of_any_split_are_read_and_others_named(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (17, 6, 5, 3), dtype=np.uint8)
    labels = np.arange(17) % 2
    arrays = {"X_train": pixels[:12], "y_train": labels[:12], "x_dev": pixels[12:], "y_dev": labels[12:]}
    np.savez(tmp_path / "mine.npz", **arrays, ids=np.arange(17))  # type: ignore[arg-type]
    assert sizes(tmp_path) == {"train": 12, "val": 5}
    assert notes(tmp_path)[2] == "not used: 1 array (ids): neither images nor labels of a split"
    np.savez(tmp_path / "mine.npz", **arrays, x_val=pixels[12:], y_val=labels[12:])  # type: ignore[arg-type]
    assert fault(str(tmp_path)) == "mine.npz: x_dev and x_val are both val; keep one of them"


def test_a_class_may_begin_with_a_dot_and_what_systems_leave_is_counted(tmp_path: Path) -> None:
    classes = (".22LR", ".380", "9mm")
    files: dict[str, bytes | str] = {f"{c}/{n}.png": png(10 * i + n) for i, c in enumerate(classes) for n in range(4)}
    files |= {".DS_Store": "x", "9mm/._1.png": "x", "9mm/.3.png": png(200), "README.md": "hello"}
    source = look(put(str(tmp_path), files))
    assert source.classes == classes
    assert notes(tmp_path)[1:] == [
        "classes by the names of the folders: 3 (.22LR, .380, 9mm)",
        "not used: 2 files (.DS_Store, 9mm/._1.png): left behind by a system or tool",
        "not used: 1 file (9mm/.3.png): hidden, its name begins with a dot",
        "not used: 1 file (README.md): neither read nor named by what was read",
    ]


def test_keys_with_dots_are_samples_and_other_members_are_counted(tmp_path: Path) -> None:
    label = {number: str(number % 2).encode() for number in range(8)}
    dotted = {f"2.{n}-img.{end}": png(n) if end == "png" else label[n] for n in range(4) for end in ("png", "cls")}
    plain = {f"{n}.{end}": png(n) if end == "PNG" else label[n] for n in range(4, 8) for end in ("PNG", "cls")}
    tar(tmp_path / "train-0.tar", {**dotted, **plain, "5.txt": b"a caption", "5.seg.png": png(99)})
    source = look(str(tmp_path))
    assert source.found.sizes == {"train": 8}
    assert notes(tmp_path)[2] == "not used: 2 members (5.txt, 5.seg.png): neither image nor label of a sample"


@pytest.mark.parametrize("beside", [".DS_Store", "README.txt", "LICENSE", "__MACOSX/._photos"])
def test_a_zip_of_one_folder_is_that_folder_whatever_lies_beside_it(tmp_path: Path, beside: str) -> None:
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as packed:
        for name in "ab":
            for number in range(4):
                packed.writestr(f"photos/{name}/{number}.png", png(number + 10 * (name == "b")))
        packed.writestr(beside, "x")
    assert look(str(tmp_path / "mine.zip")).classes == ("a", "b")
    assert beside in " ".join(notes(tmp_path / "mine.zip"))


def test_columns_and_files_that_nobody_reads_are_named(tmp_path: Path) -> None:
    images = pa.array([png(number) for number in range(6)], pa.binary())
    table = pa.table({"image": images, "label": [0, 1] * 3, "caption": ["x"] * 6})
    pq.write_table(table, tmp_path / "train.parquet")
    (tmp_path / "extra.jsonl").write_text("{}")
    assert notes(tmp_path)[1:] == [
        "classes by the numbers of the labels: 2 (0, 1)",
        "not used: 1 column (caption)",
        "not used: 1 file (extra.jsonl): neither read nor named by what was read",
    ]


def test_leaks_and_untrained_classes_are_said_by_a_study_as_by_verify(tmp_path: Path) -> None:
    parquet(tmp_path / "train.parquet", 0, 8)
    images = pa.array([png(number) for number in (0, 1, 100)], pa.binary())
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2]}), tmp_path / "test.parquet")
    source = look(str(tmp_path))
    with pytest.warns(DataWarning) as said:
        source.warn_of_faults()
    told = [str(each.message) for each in said]
    assert told[0].startswith("datasets.mine: 2 of 3 images of test are in train, byte for byte")
    assert told[1] == "datasets.mine: test has images of 1 class (2), and train has none: they can only be wrong"
    found = {check.name: check for check in verify(str(tmp_path))}
    assert found["train and test"].status == "wrong"
    assert found["labels"].status == "wrong"
    assert found["labels"].detail == "test has images of 1 class (2), and train has none: they can only be wrong"


def test_classes_that_differ_by_capitals_are_noted(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{c}/{n}.png": png(n) for c in ("Cat", "cat") for n in range(4)}
    assert "'Cat' and 'cat' are alike but for capitals" in notes(put(str(tmp_path), files))[2]


def test_files_that_predict_passes_over_are_named(tmp_path: Path) -> None:
    put(str(tmp_path), {".22LR/a.png": png(1), "b.heic": b"x", ".c.png": png(2), "Thumbs.db": "x"})
    with pytest.warns(DataWarning) as said:
        assert len(unlabelled.find_images(str(tmp_path))) == 1
    told = [str(each.message).partition(" not classified: ")[2] for each in said]
    assert told[:2] == [
        "1 file (.c.png): hidden, its name begins with a dot",
        "1 file (Thumbs.db): left behind by a system or tool",
    ]
    assert told[2].startswith("1 file (b.heic): their names end in none of .png, .jpg")


def test_a_name_that_is_no_text_is_refused_by_name(tmp_path: Path) -> None:
    put(str(tmp_path), {f"{c}/{n}.png": png(n) for c in "ab" for n in range(4)})
    (tmp_path / "a").rename(tmp_path / "caf\udce9")
    assert fault(str(tmp_path)).startswith("the name of caf\\udce9/0.png is not UTF-8")
