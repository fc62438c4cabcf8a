"""The figures of single trainings: training curves, solver health and the time that was spent.

`lion_ray.report.page` shows them.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from lion_ray.lottery import WINNING, EpochRecord, SolverHealth
from lion_ray.report.charts import Axis, Series, panel
from lion_ray.report.figures import Bar, Figure, limited, limited_panels
from lion_ray.report.formatting import NONE, method_text
from lion_ray.report.trainings import SEARCH, ResultLine, Training

Method = tuple[str, ...]
CURVES = (("loss", "training loss"), ("val_accuracy", "validation accuracy (points)"))


def curves(trainings: Sequence[Training], groups: Mapping[str, str], key: str, label: str) -> Figure | None:
    """A curve over the epochs of the dense rounds, as the mean over seeds, with a panel per dataset.

    Args:
        trainings: all trainings; those of a search are left out.
        groups: the group of each dataset, in the order of the panels.
        key: the field of `EpochRecord` to draw; accuracies are drawn in points.
        label: the text of the vertical axis.

    Returns:
        The figure; None if no training has the field.
    """
    scale = 100.0 if key.endswith("accuracy") else 1.0
    values: dict[Method, dict[str, dict[int, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for training in trainings:
        if training.record and training.line.round == 0 and training.stage != SEARCH:
            for epoch in training.record.metrics.history:
                if (value := getattr(epoch, key)) is not None:
                    values[training.line[:2]][training.dataset][epoch.epoch + 1].append(scale * value)
    if not values:
        return None
    drawn, notes = limited(list(values))
    datasets, more = limited_panels(list(groups))
    panels = [
        panel(
            name,
            [
                Series(name=_text(method), style=i, points=_means(values[method].get(name, {})))
                for i, method in enumerate(drawn)
            ],
            Axis(label="epoch", counts=True),
            Axis(label=label),
        )
        for name in datasets or groups
    ]
    return Figure(
        key=key,
        title=f"Training curves: {label.partition(' (')[0]}",
        caption="By epoch of the dense round, mean over seeds.",
        heads=("method", "dataset", "seeds", "first epoch", "middle", "last epoch"),
        rows=[_curve_row(method, name, points) for method, by in values.items() for name, points in by.items()],
        panels=[each for each in panels if each],
        legend={_text(method): index for index, method in enumerate(drawn)},
        notes=[*notes, *more],
    )


def health(trainings: Sequence[Training]) -> Figure | None:
    """The worst residual and the mean number of steps of the forward solves, by epoch.

    Epochs are counted through all rounds of the winning tickets. The figure is None if nothing was solved.
    """
    solved = [training for training in trainings if training.record and training.record.metrics.solves.num]
    if not solved:
        return None
    residuals, steps = (_through_rounds(solved, figure) for figure in (".residual_max", ".steps_mean"))
    drawn, notes = limited(list(residuals))
    series = {
        name: [Series(name=_text(m), style=i, points=_points(values[m], join)) for i, m in enumerate(drawn)]
        for name, values, join in (("residual", residuals, max), ("steps", steps, statistics.fmean))
    }
    epochs = Axis(label="epoch, counted through the rounds", counts=True)
    panels = [
        panel(
            "worst residual",
            series["residual"],
            epochs,
            Axis(label="relative residual", log=True, text=_power),
        ),
        panel("solver steps", series["steps"], epochs, Axis(label="steps, mean")),
    ]
    return Figure(
        key="health",
        title="Health of the equilibria",
        caption="Forward solves in training and evaluation over all datasets and seeds: the worst relative residual, "
        "and the mean number of solver steps. A figure rests on equilibria only where the share unconverged is 0.",
        heads=("method", "dataset", "solves", "share unconverged", "not finite", "worst residual"),
        rows=_health_rows(solved),
        panels=[each for each in panels if each],
        legend={_text(method): index for index, method in enumerate(drawn)},
        notes=notes,
    )


def time_spent(trainings: Sequence[Training], groups: Mapping[str, str]) -> Figure | None:
    """The wall time of all finished trainings by method and dataset; None if no time is known."""
    spent: dict[Method, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for training in trainings:
        if (
            training.record and training.record.seconds is not None
        ):  # a round whose clock is lost is still a finished round
            spent[training.line[:2]][training.dataset].append(training.record.seconds)
    totals = {method: sum(map(sum, by.values())) for method, by in spent.items()}
    if not totals:
        return None
    whole, longest = sum(totals.values()), max(totals.values())
    bars = [
        Bar(
            name=_text(method),
            share=seconds / longest if longest else 0.0,
            text=f"{span(seconds)}, {seconds / whole:.0%}",
        )
        for method, seconds in totals.items()
        if whole
    ]
    num = sum(len(each) for by in spent.values() for each in by.values())
    return Figure(
        key="time",
        title="Where the time went",
        caption=f"Wall time of the {num:,} finished trainings, controls included: {span(whole)} in all, were they run "
        "one after the other. Trainings that ran at once count each.",
        heads=("method", "trainings", "mean", "all datasets", *groups),
        rows=[_time_row(method, by, groups) for method, by in spent.items()],
        bars=bars,
    )


def span(seconds: float) -> str:
    """A time for people, such as `8.2 s`, `12 min` or `3.4 h`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:,.1f} h"


def _power(value: float) -> str:
    """A power of ten in short, such as `5e-5`."""
    return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")


def _text(method: Method) -> str:
    return method_text(ResultLine(method[0], method[1], 0))


def _means(by_epoch: Mapping[int, Sequence[float]]) -> list[tuple[float, float, None]]:
    return _points(by_epoch, statistics.fmean)


def _points(
    by_epoch: Mapping[int, Sequence[float]], join: Callable[[Sequence[float]], float]
) -> list[tuple[float, float, None]]:
    return [(epoch, join(values), None) for epoch, values in sorted(by_epoch.items())]


def _through_rounds(trainings: Sequence[Training], figure: str) -> dict[Method, dict[int, list[float]]]:
    by_method: dict[Method, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for training in trainings:
        if training.record and training.line.ticket == WINNING:
            history = training.record.metrics.history
            for index, epoch in enumerate(history):
                place = training.line.round * len(history) + index + 1
                by_method[training.line[:2]][place] += _figures(epoch, figure)
    return {method: {place: values for place, values in by.items() if values} for method, by in by_method.items()}


def _figures(epoch: EpochRecord, figure: str) -> Iterator[float]:
    for health in (epoch.health, epoch.evaluation_health):
        yield from (value for key, value in health.items() if key.endswith(figure))


def _curve_row(method: Method, dataset: str, by_epoch: Mapping[int, Sequence[float]]) -> list[str]:
    epochs = sorted(by_epoch)
    places = (epochs[0], epochs[len(epochs) // 2], epochs[-1])
    figures = [f"{statistics.fmean(by_epoch[epoch]):.4g} (epoch {epoch})" for epoch in places]
    return [_text(method), dataset, str(len(by_epoch[epochs[-1]])), *figures]


def _health_rows(trainings: Sequence[Training]) -> list[list[str]]:
    by_place: dict[tuple[Method, str], list[SolverHealth]] = defaultdict(list)
    for training in trainings:
        if training.record:
            by_place[training.line[:2], training.dataset].append(training.record.metrics.solves)
    rows = []
    for (method, dataset), solves in by_place.items():
        num = sum(each.num for each in solves)
        share = sum(each.num * each.share_unconverged for each in solves) / num
        broken = sum(each.num_nonfinite for each in solves)
        worst = max(each.residual_max for each in solves)
        rows.append(
            [_text(method), dataset, f"{num:,}", f"{share:.3%}" if share else "0", f"{broken:,}", f"{worst:.1e}"]
        )
    return rows


def _time_row(method: Method, by: Mapping[str, Sequence[float]], groups: Mapping[str, str]) -> list[str]:
    every = [seconds for each in by.values() for seconds in each]
    cells = [span(sum(by[name])) if by.get(name) else NONE for name in groups]
    return [_text(method), f"{len(every):,}", span(statistics.fmean(every)), span(sum(every)), *cells]
