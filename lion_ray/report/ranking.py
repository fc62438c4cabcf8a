"""Lines against each other: who is best, who cannot be told from it, and mean ranks.

`best` has the highest mean. `tied` lines are those whose paired difference from it has a 95 % interval (Student's t)
that holds 0: per dataset over seeds, on the whole over all pairs of dataset and seed. Only what is complete takes part.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from lion_ray.lottery import WINNING
from lion_ray.report.scores import Cell, Score, scores
from lion_ray.report.slots import Slot
from lion_ray.report.student import paired_difference

BEST, TIED = "best", "tied"


def compared(slots: Sequence[Slot], groups: Mapping[str, str]) -> list[Score]:
    """The scores of all lines of `slots`, with marks and ranks among them."""
    return _ranked(_marked(scores(slots, groups)))


def main_slots(slots: Sequence[Slot]) -> list[Slot]:
    """Each method dense, and its sparsest ticket: what the main table shows."""
    last: dict[tuple[str, str], int] = {}
    for slot in slots:
        last[slot.line[:2]] = max(last.get(slot.line[:2], 0), slot.line.round)
    return [slot for slot in slots if slot.line.ticket == WINNING and slot.line.round in (0, last[slot.line[:2]])]


def ranked_datasets(found: Sequence[Score]) -> list[str]:
    """Those for which every line that has begun has a figure: ranks are over these alone."""
    begun = [score for score in found if score.task_mean.num]
    names = begun[0].cells if begun else ()
    return [name for name in names if all(score.cells[name].values for score in begun)]


def _marked(found: Sequence[Score]) -> list[Score]:
    cells: list[dict[str, Cell]] = [dict(score.cells) for score in found]
    for name in found[0].cells if found else ():
        column = [each[name] for each in cells]
        marks = _marks([dict(cell.values) if cell.mean.is_complete else None for cell in column])
        for each, mark in zip(cells, marks, strict=True):
            each[name] = dataclasses.replace(each[name], mark=mark)
    marks = _marks(
        [score.pairs if score.is_complete else None for score in found],
        [score.task_mean.value for score in found],
    )
    return [
        dataclasses.replace(score, cells=each, mark=mark) for score, each, mark in zip(found, cells, marks, strict=True)
    ]


def _marks(columns: Sequence[Mapping[Any, float] | None], means: Sequence[float | None] | None = None) -> list[str]:
    """The mark of each; None takes no part. Without a second pair nobody can be called tied, unless it is equal."""
    means = means or [statistics.fmean(values.values()) if values else None for values in columns]
    taking_part = [(mean, index) for index, mean in enumerate(means) if columns[index] and mean is not None]
    marks = [""] * len(columns)
    if len(taking_part) < 2:
        return marks
    _, first = max(taking_part, key=lambda each: (each[0], -each[1]))
    best = columns[first] or {}
    for _, index in taking_part:
        values = columns[index] or {}
        common = [best[key] - values[key] for key in best if key in values]
        marks[index] = TIED if index != first and common and _holds_zero(common) else ""
    marks[first] = BEST
    return marks


def _holds_zero(differences: Sequence[float]) -> bool:
    found = paired_difference(differences)
    return found.mean == 0 if found.num == 1 else found.low <= 0 <= found.high


def _ranked(found: Sequence[Score]) -> list[Score]:
    names = ranked_datasets(found)
    ranks: dict[int, list[float]] = defaultdict(list)
    for name in names:
        means = {index: score.cells[name].mean.value or 0.0 for index, score in enumerate(found) if score.task_mean.num}
        for index, mean in means.items():
            above = sum(other > mean for other in means.values())
            ranks[index].append(above + (1 + sum(other == mean for other in means.values())) / 2)
    return [
        dataclasses.replace(score, rank=statistics.fmean(ranks[index]) if ranks[index] else None)
        for index, score in enumerate(found)
    ]
