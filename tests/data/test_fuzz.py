"""Damaged sets of every format: one line that names the set, never another exception, and little time for each."""

from __future__ import annotations

import io
import json
import random
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lion_ray.config import StudyError
from tests.support.small_sets import look, png

FIXTURES = Path(__file__).parent.parent / "fixtures" / "tfds"
NUM_IMAGES = 8
SECONDS = 5.0
"""Far more than any damaged set of this size may take on a busy machine."""


def folder(root: Path) -> None:
    for number in range(NUM_IMAGES):
        file = root / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(number))


def parquet(root: Path) -> None:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([{"bytes": png(number), "path": None} for number in range(NUM_IMAGES)], kind)
    names = json.dumps({"info": {"features": {"label": {"names": ["a", "b"], "_type": "ClassLabel"}}}})
    table = pa.table({"image": images, "label": [number % 2 for number in range(NUM_IMAGES)]})
    root.mkdir(parents=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": names}), root / "train.parquet", row_group_size=3)


def webdataset(root: Path) -> None:
    root.mkdir(parents=True)
    with tarfile.open(root / "train-0.tar", "w") as tar:
        for number in range(NUM_IMAGES):
            for ending, payload in (("png", png(number)), ("cls", str(number % 2).encode())):
                info = tarfile.TarInfo(f"{number}.{ending}")
                info.size = len(payload)
                tar.addfile(info, io.BytesIO(payload))


def npz(root: Path) -> None:
    root.mkdir(parents=True)
    images = np.arange(NUM_IMAGES * 6 * 5 * 3, dtype=np.uint64).astype(np.uint8).reshape(NUM_IMAGES, 6, 5, 3)
    np.savez_compressed(root / "set.npz", images=images, labels=np.arange(NUM_IMAGES) % 2)


def lists(root: Path) -> None:
    folder(root)
    rows = [f"{'ab'[number % 2]}/{number}.png,{number % 2}" for number in range(NUM_IMAGES)]
    (root / "all.csv").write_text("path,label\n" + "\n".join(rows))
    (root / "classes.txt").write_text("ant\nbee\n")


def vtab(root: Path) -> None:
    for name, numbers in (("train800", range(4)), ("val200", range(4, 6)), ("test", range(6, NUM_IMAGES))):
        for number in numbers:
            file = root / "images" / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(png(number))
        (root / f"{name}.txt").write_text("".join(f"images/{n}.png {n % 2}\n" for n in numbers))


def zipped(root: Path) -> None:
    folder(root / "inside")
    with zipfile.ZipFile(root / "set.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted((root / "inside").rglob("*.png")):
            packed.write(file, file.relative_to(root))
    shutil.rmtree(root / "inside")


def tfds(root: Path) -> None:
    shutil.copytree(FIXTURES, root)


MAKERS: tuple[Callable[[Path], None], ...] = (folder, parquet, webdataset, npz, lists, vtab, zipped, tfds)


def damaged(payload: bytes, draw: random.Random) -> bytes:
    """Bytes flipped, a part cut off, taken out, zeroed or doubled."""
    kind, place = draw.randrange(6), draw.randrange(len(payload))
    end = min(len(payload), place + draw.choice((1, 4, 64, 1000)))
    if kind <= 1:
        flipped = bytearray(payload)
        for _ in range(draw.choice((1, 1, 3, 20))):
            flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    middle = {2: b"", 3: bytes(end - place), 4: payload[place:end] * 2, 5: draw.randbytes(end - place)}[kind]
    return payload[:place] + middle + (b"" if kind == 2 and draw.random() < 0.5 else payload[end:])


def cases(make: Callable[[Path], None], root: Path, num: int) -> Iterator[int]:
    """The set as it is made, one of its files damaged anew each time; the number that draws the damage."""
    make(root)
    files = [(file, file.read_bytes()) for file in sorted(root.rglob("*")) if file.is_file()]
    for number in range(num):
        draw = random.Random(f"{make.__name__}/{number}")
        file, payload = draw.choice(files)
        file.write_bytes(damaged(payload, draw))
        yield number
        file.write_bytes(payload)


def survives(make: Callable[[Path], None], root: Path, num: int) -> None:
    """A damaged set is read like any other, or refused in one line."""
    refused = 0
    url = str(root / "set.zip") if make is zipped else str(root)
    label = "label" if make is tfds else None
    for number in cases(make, root, num):
        began = time.perf_counter()
        try:
            source = look(url, label_column=label)
            source.identity()
            source.decode(size=4, num_threads=1)
        except StudyError as error:
            refused += 1
            told = str(error)
            assert "\n" not in told, f"{make.__name__} {number}: {told}"
        except Exception as error:
            raise AssertionError(f"{make.__name__} {number}: {error!r}") from error
        assert time.perf_counter() - began < SECONDS, f"{make.__name__} {number}"
    assert refused > num // 20, "the damage is too slight to test anything"


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_one_line(make: Callable[[Path], None], tmp_path: Path) -> None:
    survives(make, tmp_path / "set", 60)


@pytest.mark.slow
@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore")
def test_damage_by_the_thousand_is_one_line(make: Callable[[Path], None], tmp_path: Path) -> None:
    """`python -m pytest -m slow tests/data/test_fuzz.py`: two minutes."""
    survives(make, tmp_path / "set", 4000)
