"""Comparison of the report's table lines: the best line, the lines that are tied with it, and mean ranks.

The `best` line has the highest mean. A line is `tied` if the 95 % interval of its paired difference from the best
holds 0. On one dataset that interval is about other seeds and test images; over all datasets it is about sets like
these, with the dataset as the unit (`lion_ray.report.pairing`). Only complete lines take part. `lion_ray.report.page`
calls this module.
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


def compared(trainings: Sequence[Training], groups: Mapping[str, str]) -> list[Score]:
    """The scores of all table lines, with marks and ranks among them.

    Args:
        trainings: the trainings of the lines.
        groups: the group of each dataset by its label.
    """
    return _ranked(_marked(scores(trainings, groups)))


def main_trainings(trainings: Sequence[Training]) -> list[Training]:
    """The trainings of the main table: each method's dense round and its sparsest winning ticket."""
    last: dict[tuple[str, str], int] = {}
    for training in trainings:
        last[training.line[:2]] = max(last.get(training.line[:2], 0), training.line.round)
    return [
        training
        for training in trainings
        if training.line.ticket == WINNING and training.line.round in (0, last[training.line[:2]])
    ]


def ranked_datasets(lines: Sequence[Score]) -> list[str]:
    """The datasets that ranks are over: those on which every line that has begun has an accuracy."""
    begun = [score for score in lines if score.task_mean.num]
    names = begun[0].cells if begun else ()
    return [name for name in names if all(score.cells[name].values for score in begun)]


def _marked(lines: Sequence[Score]) -> list[Score]:
    cells: list[dict[str, TableCell]] = [dict(score.cells) for score in lines]
    for name in lines[0].cells if lines else ():
        column = [each[name] for each in cells]
        values = [{(name, seed): value / 100 for seed, value in cell.values.items()} for cell in column]
        complete = [each if cell.mean.is_complete else None for each, cell in zip(values, column, strict=True)]
        marks = _marks(complete, {name: max(cell.images for cell in column)})
        for each, mark in zip(cells, marks, strict=True):
            each[name] = dataclasses.replace(each[name], mark=mark)
    marks = _marks(
        [score.pairs if score.is_complete else None for score in lines],
        {name: cell.images for score in lines for name, cell in score.cells.items()},
        [score.task_mean.value for score in lines],
    )
    return [
        dataclasses.replace(score, cells=each, mark=mark) for score, each, mark in zip(lines, cells, marks, strict=True)
    ]


def _marks(
    columns: Sequence[Accuracies | None], images: Mapping[str, int], means: Sequence[float | None] | None = None
) -> list[str]:
    """The mark of each line.

    Args:
        columns: the accuracies of each line; None takes no part.
        images: the number of test images of each dataset.
        means: the value by which the best line is chosen; None takes the mean of each column.

    A line with one common pair is tied only if its accuracy is equal, because one pair has no interval.
    """
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
    difference = on_one(gaps[0]) if len(gaps) == 1 else over_sets_like(gaps)
    return difference.mean == 0 if math.isnan(difference.low) else difference.low <= 0 <= difference.high


def _ranked(lines: Sequence[Score]) -> list[Score]:
    names = ranked_datasets(lines)
    ranks: dict[int, list[float]] = defaultdict(list)
    for name in names:
        means = {index: score.cells[name].mean.value or 0.0 for index, score in enumerate(lines) if score.task_mean.num}
        for index, mean in means.items():
            above = sum(other > mean for other in means.values())
            ranks[index].append(above + (1 + sum(other == mean for other in means.values())) / 2)
    return [
        dataclasses.replace(score, rank=statistics.fmean(ranks[index]) if ranks[index] else None)
        for index, score in enumerate(lines)
    ]
