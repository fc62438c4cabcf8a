"""Small datasets for the tests of readers: images told apart by their first pixel, and how a study would find them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lion_ray.config import DataConfig, DatasetConfig, StudyError
from lion_ray.data import Source, find
from lion_ray.store import write_url

BROKEN = b"\x89PNG\r\n\x1a\n and then nothing"


def png(value: int) -> bytes:
    """A PNG whose red is `value`."""
    file = io.BytesIO()
    Image.new("RGB", (6, 5), (value, 2 * value % 256, 7)).save(file, "png")
    return file.getvalue()


def put(root: str, files: Mapping[str, bytes | str]) -> str:
    """Write files below `root`, which is returned."""
    for path, payload in files.items():
        write_url(f"{root}/{path}", payload.encode() if isinstance(payload, str) else payload)
    return root


def look(url: str, *, on_bad_image: Any = "error", **options: Any) -> Source:
    """The dataset `mine` of `my.yaml` at `url`."""
    where = DataConfig(on_bad_image=on_bad_image)
    return find(DatasetConfig(name="mine", url=url, **options), where, source="my.yaml")


def fault(url: str, **options: Any) -> str:
    """What a user is told of the data at `url`: one line, without what stands in front of all of them."""
    with pytest.raises(StudyError) as caught:
        look(url, **options).decode(size=4)
    message, front = str(caught.value), "my.yaml: datasets.mine: "
    assert message.startswith(front)
    assert "\n" not in message
    return message.removeprefix(front)


def reds(source: Source) -> dict[str, list[int]]:
    """The `value` of every image, by split, in the order of training."""
    data = source.decode(size=4)
    return {split: getattr(data, split).images[:, 0, 0, 0].tolist() for split in ("train", "val", "test")}


def parquet(file: Path, first: int, num: int, **columns: Sequence[Any]) -> None:
    """A shard of `num` images from the value `first` on, labelled 0, 1, 0, ..., with further columns."""
    images = pa.array([png(first + number) for number in range(num)], pa.binary())
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, "label": [number % 2 for number in range(num)], **columns}), file)


def tar(file: Path, members: Mapping[str, bytes]) -> None:
    """A tar of these members."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as packed:
        for name, payload in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            packed.addfile(info, io.BytesIO(payload))
