"""What a build and a verification cost: images per second on one core and on two, and the peak of memory.

    .venv/bin/python -m tests.benchmarks.building speed
    .venv/bin/python -m tests.benchmarks.building memory 2000 [BYTES_OF_A_SHARD [SIDE_OF_AN_IMAGE]]

`speed` prints a line per encoding and number of cores: images per second by the clock, and CPU time, which other work
on the machine does not change. `memory` builds and verifies so many MB of images in one process and prints its peak of
resident memory (VmHWM) in MB.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lion_ray.config import DatasetConfig
from lion_ray.data import find
from lion_ray.data.build.building import build
from lion_ray.data.build.shards import SHARD_BYTES
from lion_ray.data.fingerprint import Labels
from lion_ray.data.item import EncodedImage
from lion_ray.data.pool import FoundSet, as_labels
from lion_ray.data.verify.verifying import verify

SIDE = 256
NUM_IMAGES = {"png": 1500, "jpeg": 3000}
NOISE = np.random.default_rng(0).integers(0, 256, size=2 * SIDE * SIDE * 3, dtype=np.uint8)


@dataclass(frozen=True)
class Made:
    """A pool whose images are made when they are read, no two alike, the first being number `first`."""

    labels: Labels
    format: str
    first: int
    side: int

    def items(self, indices: Sequence[int]) -> Iterator[EncodedImage]:
        """See `Pool.items`."""
        for index in indices:
            load = partial(_encoded, self.first + index, self.format, self.side)
            yield EncodedImage(index=index, where=f"{index}.{self.format}", load=load)


def _encoded(index: int, format: str, side: int) -> bytes:
    """Noise as smooth as a photo for compressing formats, plain noise for BMP, which costs nothing to make."""
    start = index * 7919 % (SIDE * SIDE)
    pixels = NOISE[start : start + side * side * 3].reshape(side, side, 3)
    if format != "bmp":
        pixels = np.asarray(Image.fromarray(pixels[: side // 8, : side // 8]).resize((side, side)))
    marked, file = pixels.copy(), io.BytesIO()
    marked[0, :4, 0] = np.frombuffer(index.to_bytes(4, "little"), np.uint8)
    Image.fromarray(marked).save(file, format)
    return file.getvalue()


def made(num: int, format: str, side: int = SIDE) -> FoundSet:
    """A set of `num` images, a tenth of them for test."""
    cuts = {"train": (0, num - num // 10), "test": (num - num // 10, num)}
    pools = {
        split: Made(as_labels(np.arange(first, end) % 10), format, first, side) for split, (first, end) in cuts.items()
    }
    return FoundSet(classes=tuple("0123456789"), pools=pools)


def peak_mb(num_mb: int, shard_bytes: int, side: int, folder: Path) -> float:
    """Peak resident memory of this process after it has built and verified so much, as BMP images."""
    num = num_mb * 10**6 // (side * side * 3)
    build(made(num, "bmp", side), str(folder / "set"), name="made", source="made", shard_bytes=shard_bytes)
    assert {check.status for check in verify(str(folder / "set"))} == {"ok"}
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def timed(cores: int, format: str, folder: Path) -> dict[str, float]:
    """Seconds by clock and CPU to build and to verify, in this process, bound to so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    source, target = str(folder / format), str(folder / f"{format}-{cores}")
    found: dict[str, float] = {}
    for name, act in (("build", lambda: build_folder(source, target)), ("verify", lambda: verify(target))):
        start, start_cpu = time.perf_counter(), time.process_time()
        act()
        found |= {f"{name}_s": time.perf_counter() - start, f"{name}_cpu_s": time.process_time() - start_cpu}
    return found


def build_folder(source: str, target: str) -> None:
    """As the command does."""
    build(find(DatasetConfig(name="made", url=source)).found, target, name="made", source=source)


def in_a_new_process(*arguments: object) -> str:
    """What this file prints when it is run with `arguments`: peaks and affinity are a process's own."""
    command = [sys.executable, "-m", "tests.benchmarks.building", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def speed() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name:
        for format, num in NUM_IMAGES.items():
            for split, pool in made(num, format).pools.items():
                for item in pool.items(range(len(pool.labels))):
                    path = Path(name, format, split, str(item.index % 10), item.where)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(bytes(item.read()))
            for cores in (1, 2):
                found = json.loads(in_a_new_process("timed", cores, format, name))
                rates = ", ".join(
                    f"{act} {num / found[f'{act}_s']:.0f}/s, {1e3 * found[f'{act}_cpu_s'] / num:.2f} ms CPU each, "
                    f"{found[f'{act}_cpu_s'] / found[f'{act}_s']:.2f} cores used"
                    for act in ("build", "verify")
                )
                print(f"{format}, {cores} core(s): {rates}", flush=True)


def main(what: str, *arguments: str) -> None:
    """See the module."""
    if what == "speed":
        speed()
    elif what == "timed":
        print(json.dumps(timed(int(arguments[0]), arguments[1], Path(arguments[2]))))
    else:
        num_mb, shard_bytes, side = (*map(int, arguments), *(SHARD_BYTES, SIDE)[len(arguments) - 1 :])
        with tempfile.TemporaryDirectory() as name:
            print(f"{peak_mb(num_mb, shard_bytes, side, Path(name)):.1f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
