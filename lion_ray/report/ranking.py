"""Lines against each other: who is best, who cannot be told from it, and mean ranks.

`best` has the highest mean. `tied` lines are those whose paired difference from it has a 95 % interval that holds 0: on
a dataset that about other seeds and test images, on the whole that about sets like these, whose unit is the dataset
(`pairing`; of a single dataset, that about it). Only what is complete takes part.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

from lion_ray.lottery import WINNING
from lion_ray.report.pairing import Accuracies, Gap, on_one, over_sets_like, pair
from lion_ray.report.scores import Score, TableCell, scores
from lion_ray.report.trainings import Training

BEST, TIED = "best", "tied"


def compared(slots: Sequence[Training], groups: Mapping[str, str]) -> list[Score]:
    """The scores of all lines of `slots`, with marks and ranks among them."""
    return _ranked(_marked(scores(slots, groups)))


def main_slots(slots: Sequence[Training]) -> list[Training]:
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
    cells: list[dict[str, TableCell]] = [dict(score.cells) for score in found]
    for name in found[0].cells if found else ():
        column = [each[name] for each in cells]
        values = [{(name, seed): value / 100 for seed, value in cell.values.items()} for cell in column]
        complete = [each if cell.mean.is_complete else None for each, cell in zip(values, column, strict=True)]
        marks = _marks(complete, {name: max(cell.images for cell in column)})
        for each, mark in zip(cells, marks, strict=True):
            each[name] = dataclasses.replace(each[name], mark=mark)
    marks = _marks(
        [score.pairs if score.is_complete else None for score in found],
        {name: cell.images for score in found for name, cell in score.cells.items()},
        [score.task_mean.value for score in found],
    )
    return [
        dataclasses.replace(score, cells=each, mark=mark) for score, each, mark in zip(found, cells, marks, strict=True)
    ]


def _marks(
    columns: Sequence[Accuracies | None], images: Mapping[str, int], means: Sequence[float | None] | None = None
) -> list[str]:
    """The mark of each; None takes no part. Without a second pair nobody can be called tied, unless it is equal."""
    means = means or [statistics.fmean(values.values()) if values else None for values in columns]
    taking_part = [(mean, index) for index, mean in enumerate(means) if columns[index] and mean is not None]
    marks = [""] * len(columns)
    if len(taking_part) < 2:
        return marks
    _, first = max(taking_part, key=lambda each: (each[0], -each[1]))
    best = columns[first] or {}
    for _, index in taking_part:
        gaps = pair(best, columns[index] or {}, images)
        marks[index] = TIED if index != first and gaps and _holds_zero(gaps) else ""
    marks[first] = BEST
    return marks


def _holds_zero(gaps: Sequence[Gap]) -> bool:
    found = on_one(gaps[0]) if len(gaps) == 1 else over_sets_like(gaps)
    return found.mean == 0 if math.isnan(found.low) else found.low <= 0 <= found.high


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
