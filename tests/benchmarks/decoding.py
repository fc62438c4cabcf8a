"""How decoding scales over threads: `python -m tests.benchmarks.decoding [--json FILE]`.

One thread, two threads, and two processes of one thread each take turns. On a machine that others use too, two threads
get less than two cores, and so do two processes: the efficiency that counts is that of threads against processes, which
share nothing. Medians of ratios within a round. The same number of images for each core that is used.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lion_ray.data.decode.decoding import Resize, decode
from lion_ray.data.item import EncodedImage

ROUNDS = 7
CASES = {  # format, height, width, images per core and round, pixels after
    "jpeg 375 x 500 to 224": ("jpeg", 375, 500, 512, 224),
    "png 375 x 500 to 224": ("png", 375, 500, 192, 224),
    "png 32 x 32 to 224": ("png", 32, 32, 1600, 224),
    "png 32 x 32 to 32": ("png", 32, 32, 9600, 32),
}


def images(kind: str, height: int, width: int) -> list[bytes]:
    """Sixteen smooth pictures, encoded."""
    rng, encoded = np.random.default_rng(0), []
    for _ in range(16):
        coarse = Image.fromarray(rng.integers(0, 256, (max(4, height // 8), max(4, width // 8), 3), dtype=np.uint8))
        file = io.BytesIO()
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(file, kind)
        encoded.append(file.getvalue())
    return encoded


def work(encoded: Sequence[bytes], num: int, size: int, num_threads: int) -> float:
    """Decode; returns the CPU seconds of this process."""
    items = (EncodedImage(index=k, where="", load=partial(encoded.__getitem__, k % len(encoded))) for k in range(num))
    before = time.process_time()
    decode(items, range(num), Resize(size=size), num_threads=num_threads)
    return time.process_time() - before


def timed(run: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def rounds(name: str, pool: ProcessPoolExecutor) -> Iterator[dict[str, float]]:
    """Seconds of each way, round by round."""
    kind, height, width, num, size = CASES[name]
    encoded = images(kind, height, width)

    def apart() -> None:
        list(pool.map(work, [encoded] * 2, [num] * 2, [size] * 2, [1] * 2))

    for number in range(ROUNDS + 1):
        found = {
            "one": timed(lambda: work(encoded, num, size, 1)),
            "two": timed(lambda: work(encoded, 2 * num, size, 2)),
            "apart": timed(apart),
        }
        if number:  # the first warms up
            yield found


def measure(name: str, pool: ProcessPoolExecutor) -> dict[str, float]:
    """Images per second and what a second thread is worth."""
    found, num = list(rounds(name, pool)), CASES[name][3]
    median = {way: statistics.median(each[way] for each in found) for way in found[0]}
    return {
        "images_per_second_1_thread": num / median["one"],
        "images_per_second_2_threads": 2 * num / median["two"],
        "images_per_second_2_processes": 2 * num / median["apart"],
        "threads_over_processes": statistics.median(each["apart"] / each["two"] for each in found),
        "threads_over_linear": statistics.median(each["one"] / each["two"] for each in found),
        "threads_over_linear_best": min(each["one"] for each in found) / min(each["two"] for each in found),
    }


def main() -> None:
    """Measure every case and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": [round(load, 1) for load in os.getloadavg()], "cases": {}}
    with ProcessPoolExecutor(2) as pool:
        for name in CASES:
            found["cases"][name] = {key: round(value, 3) for key, value in measure(name, pool).items()}
            print(name, found["cases"][name], flush=True)
    options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
