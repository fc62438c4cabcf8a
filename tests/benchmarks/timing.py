"""Interleaved timing: what is compared runs in one process, in turn, in a new random order each time.

Medians of paired ratios, by wall clock and by CPU time of the process: the second stays readable on a shared machine
at one thread (idle spinning of more threads would count).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

Row = dict[str, float]


def interleaved(runs: Mapping[str, Callable[[], object]], *, reference: str, repeats: int) -> dict[str, Row]:
    """Median milliseconds of each run and its ratio to `reference`, after one warm-up each."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()
    order, shuffler = list(runs), random.Random(0)
    for _ in range(repeats):
        shuffler.shuffle(order)
        for name in order:
            start, start_cpu = time.perf_counter(), time.process_time()
            runs[name]()
            wall[name].append(time.perf_counter() - start)
            cpu[name].append(time.process_time() - start_cpu)
    return {
        name: {
            "wall_ms": 1e3 * statistics.median(wall[name]),
            "cpu_ms": 1e3 * statistics.median(cpu[name]),
            "wall_ratio": _ratio(wall[name], wall[reference]),
            "cpu_ratio": _ratio(cpu[name], cpu[reference]),
        }
        for name in runs
    }


def _ratio(times: list[float], reference: list[float]) -> float:
    return statistics.median(time / other for time, other in zip(times, reference, strict=True))


def table(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """Rows as aligned text."""
    columns = list(next(iter(rows.values())))
    width = max(len(name) for name in rows)
    lines = [title, " ".join([" " * width, *(f"{column:>14}" for column in columns)])]
    lines += [f"{name:{width}} " + " ".join(f"{row[column]:14.3f}" for column in columns) for name, row in rows.items()]
    return "\n".join(lines) + "\n"
