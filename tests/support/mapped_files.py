"""Processes that make a mapped file as trials do, for tests that kill them. Imports little: each is started afresh."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from lion_ray.data.dataset import Pixels
from lion_ray.data.decode.mapping import mapped

SHAPE = (20, 4, 4, 3)
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])


def filled(pixels: Pixels) -> None:
    """The k-th image is k."""
    pixels[:] = np.arange(20, dtype=np.uint8)[:, None, None, None]


def make(folder: Path, seconds: float = 0.0) -> None:
    """Map the file `a`; if it has to be made, slowly and with an `x` in `made`."""

    def fill(pixels: Pixels) -> None:
        with (folder / "made").open("a") as file:
            file.write("x")
        filled(pixels)
        time.sleep(seconds)

    assert mapped(folder, "a", SHAPE, fill)[19, 0, 0, 0] == 19


def started(folder: Path, seconds: float) -> BaseProcess:
    """A process that runs `make`, once somebody has begun to make the file."""
    folder.mkdir(exist_ok=True)
    process = CONTEXT.Process(target=make, args=(folder, seconds))
    process.start()
    deadline = time.monotonic() + 60
    while not (folder / "made").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process
