"""The figures of scores in the report: accuracy against density and against trained parameters.

Each figure comes with a table of all its values, also of those that are not drawn. Only a part of a large study is
drawn, and the figure's notes say so. `lion_ray.report.page` shows the figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import pairwise

from lion_ray.lottery import WINNING
from lion_ray.report.charts import Axis, Panel, Series, panel
from lion_ray.report.formatting import mean_text, method_text, number_text, plus_minus
from lion_ray.report.scores import SIZES, Score
from lion_ray.report.trainings import ResultLine

MAX_PANELS, MAX_SERIES = 24, 16
ACCURACY = Axis(label="test accuracy (points)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bar:
    """One horizontal bar. `share`, 0 to 1, is its length relative to the longest bar, and `text` stands beside it."""

    name: str
    share: float
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """Panels or bars, with the same values as a table.

    `key` is the figure's anchor on the page, `heads` and `rows` are the table, `legend` maps the name of each series to
    its style, and `notes` say what is not drawn.
    """

    key: str
    title: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    panels: Sequence[Panel] = ()
    bars: Sequence[Bar] = ()
    legend: Mapping[str, int] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


def density(scores: Sequence[Score], groups: Mapping[str, str]) -> Figure | None:
    """Accuracy against density of tickets and controls, averaged over all datasets and on each.

    Args:
        scores: all lines, those of every round included.
        groups: the group of each dataset, in the order of the panels.

    Returns:
        The figure; None if no line is pruned.
    """
    pruned = {score.line[:2] for score in scores if score.line.round}
    shown = [score for score in scores if score.line[:2] in pruned]
    if not any(score.sizes for score in shown):
        return None
    names = list(dict.fromkeys(_series_of(score.line) for score in shown))
    drawn, notes = limited(names)
    datasets, more = limited_panels(list(groups))
    by_series = {name: [score for score in shown if _belongs(score.line, name)] for name in drawn}
    axis = Axis(
        label="density", log=True, falls=True, ticks=_densities(shown), text=lambda value: f"{100 * value:.3g}%"
    )
    panels = [panel("all datasets", _averaged(by_series), axis, ACCURACY)]
    panels += [panel(name, _of_dataset(by_series, name), axis, ACCURACY) for name in datasets]
    return Figure(
        key="density",
        title="Accuracy against density",
        caption="Mean test accuracy of winning tickets and of the controls beside them; bars: standard deviation over "
        "seeds. “All datasets” is the task mean, drawn only where no dataset is missing.",
        heads=("method", "ticket", "density", "task mean", *groups),
        rows=[_density_row(score) for score in shown],
        panels=[each for each in panels if each],
        legend={_series_title(name): index for index, name in enumerate(drawn)},
        notes=[*notes, *more],
    )


def parameters(scores: Sequence[Score]) -> Figure | None:
    """The task mean against the number of trained parameters, with the Pareto front; None before the first result."""
    winning = [score for score in scores if score.line.ticket == WINNING and score.sizes]
    whole = [score for score in winning if score.task_mean.is_complete]
    methods, notes = limited(list(dict.fromkeys(score.line[:2] for score in winning)))
    front = _front(whole)
    series = [Series(name="Pareto front", style=0, points=[_place(score) for score in front], is_front=True)]
    for index, method in enumerate(methods):
        points = [_place(score) for score in whole if score.line[:2] == method]
        series.append(Series(name=method_text(ResultLine(method[0], method[1], 0)), style=index, points=points))
    drawn = panel(
        "task mean", series, Axis(label="trained parameters, classifier included", log=True, text=_short), ACCURACY
    )
    incomplete = len(winning) - len(whole)
    if incomplete:
        notes.append(f"{incomplete} of {len(winning)} lines have no figure yet on some dataset and are not drawn.")
    if not winning:
        return None
    return Figure(
        key="parameters",
        title="Accuracy against trained parameters",
        caption="Each point is a method, or one of its tickets: the task mean against the trained parameters that "
        "survive, mean over datasets. The grey line is the Pareto front: nothing smaller is as accurate as its points.",
        heads=("method", "round", "parameters", "without classifier", "task mean", "Pareto front"),
        rows=[_parameter_row(score, score in front) for score in winning],
        panels=[drawn] if drawn else [],
        legend={method_text(ResultLine(method[0], method[1], 0)): index for index, method in enumerate(methods)},
        notes=notes,
    )


def limited(names: Sequence[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], list[str]]:
    """The first `MAX_SERIES` series, whose styles a reader can distinguish, and a note if there are more."""
    over = f"The first {MAX_SERIES} of {len(names)} series are drawn; the table holds all."
    return list(names[:MAX_SERIES]), [over] if len(names) > MAX_SERIES else []


def limited_panels(datasets: Sequence[str]) -> tuple[list[str], list[str]]:
    """The first `MAX_PANELS` datasets, and a note if there are more.

    A single dataset gets no panel, because it equals the average.
    """
    if len(datasets) == 1:
        return [], []
    over = f"The first {MAX_PANELS} of {len(datasets)} datasets have a panel; the table holds all."
    return list(datasets[:MAX_PANELS]), [over] if len(datasets) > MAX_PANELS else []


def _series_of(line: ResultLine) -> tuple[str, ...]:
    return (line.study, line.method, line.ticket)


def _belongs(line: ResultLine, name: tuple[str, ...]) -> bool:
    """Whether a line belongs to a series. A control's series begins with the dense round of its method."""
    return _series_of(line) == name or (line[:2] == name[:2] and line.round == 0)


def _series_title(name: tuple[str, ...]) -> str:
    ticket = "winning tickets" if name[2] == WINNING else name[2].replace("_", " ")
    return f"{method_text(ResultLine(name[0], name[1], 0))}: {ticket}"


def _averaged(by_series: Mapping[tuple[str, ...], Sequence[Score]]) -> list[Series]:
    series = []
    for index, (name, scores) in enumerate(by_series.items()):
        points = [
            (each.sizes["density"], each.task_mean.value or 0.0, None) for each in scores if each.task_mean.is_complete
        ]
        series.append(Series(name=_series_title(name), style=index, points=sorted(points, reverse=True)))
    return series


def _of_dataset(by_series: Mapping[tuple[str, ...], Sequence[Score]], dataset: str) -> list[Series]:
    series = []
    for index, (name, scores) in enumerate(by_series.items()):
        cells = [(each.sizes["density"], each.cells[dataset]) for each in scores if each.cells[dataset].values]
        points = [(size, cell.mean.value or 0.0, cell.deviation) for size, cell in cells]
        series.append(Series(name=_series_title(name), style=index, points=sorted(points, key=lambda each: -each[0])))
    return series


def _densities(shown: Sequence[Score]) -> tuple[float, ...]:
    """The densities as ticks, if they are few and far enough apart; otherwise none, and round numbers are chosen."""
    sizes = sorted({float(f"{score.sizes['density']:.3g}") for score in shown if score.sizes}, reverse=True)
    apart = all(one > 1.25 * other for one, other in pairwise(sizes))
    return tuple(sizes) if len(sizes) <= 6 and apart else ()


def _density_row(score: Score) -> list[str]:
    size = f"{score.sizes['density']:.3f}" if score.sizes else "–"
    cells = [plus_minus(cell) for cell in score.cells.values()]
    return [method_text(score.line), score.line.ticket, size, mean_text(score.task_mean), *cells]


def _place(score: Score) -> tuple[float, float, float | None]:
    return score.sizes["num_acting_params"], score.task_mean.value or 0.0, None


def _front(scores: Sequence[Score]) -> list[Score]:
    """The Pareto front, from few parameters to many: each score is more accurate than all smaller ones."""
    best, pareto = float("-inf"), []
    for score in sorted(scores, key=lambda each: (each.sizes["num_acting_params"], -(each.task_mean.value or 0.0))):
        if (score.task_mean.value or 0.0) > best:
            best = score.task_mean.value or 0.0
            pareto.append(score)
    return pareto


def _parameter_row(score: Score, is_on_front: bool) -> list[str]:
    sizes = [number_text(score.sizes[name]) for name in SIZES[1:]]
    front = "yes" if is_on_front else "no" if score.task_mean.is_complete else "not drawn"
    return [method_text(score.line), str(score.line.round), *sizes, mean_text(score.task_mean), front]


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
