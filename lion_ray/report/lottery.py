"""A finished lottery study as `lottery.md` and `lottery.svg`, which `lion-ray evidence` writes.

Only `results.parquet` is read. The text says where winning tickets beat their controls, and where they do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from lion_ray.lottery import WINNING
from lion_ray.report import charts, comparison, drawing, worth
from lion_ray.report.comparison import FinalRow
from lion_ray.report.escaping import markdown_row, markdown_text
from lion_ray.report.evidence import Evidence, Spread, TicketSeries, collect
from lion_ray.report.pairing import ABOUT, LIKE_THESE, THESE, Difference, sign


def write(study_url: str, folder: Path) -> list[Path]:
    """Write `lottery.md` and `lottery.svg` into `folder`, which is made if it is missing; returns their paths.

    Raises:
        FileNotFoundError: the study has no results yet.
        ValueError: the study has no pruned round, or its results are damaged.
    """
    rows = comparison.read_rows(study_url)
    evidence = collect(rows)
    if not evidence.datasets:
        raise ValueError(f"{study_url}: no method of this study has a pruned round")
    folder.mkdir(parents=True, exist_ok=True)
    table, plot = folder / "lottery.md", folder / "lottery.svg"
    table.write_text(f"{markdown(evidence)}{_worth(rows)}", encoding="utf-8")
    plot.write_text(accuracy_against_density(evidence), encoding="utf-8")
    return [table, plot]


def markdown(evidence: Evidence) -> str:
    """The text of `lottery.md`: accuracies, paired differences, and a sentence on each comparison."""
    parts = [
        "Test accuracy in points, mean ± standard deviation over seeds.",
        _table(("dataset", "density", *map(title, evidence.series)), _accuracy_rows(evidence)),
    ]
    if evidence.comparisons:
        parts.append(
            f"Paired differences in points (same dataset, round and seed). {ABOUT} **Bold** where the interval leaves "
            "out 0. Methods that differ in their settings have other starts at the "
            "same seed: their pairs share dataset and seed number only."
        )
    for one, other in evidence.comparisons:
        heads = ("density", *evidence.datasets, THESE, LIKE_THESE)
        rows = [_difference_row(evidence, one, other, number) for number in evidence.densities]
        parts += [
            markdown_text(f"{title(one)} − {title(other)}:"),
            _table(heads, [row for row in rows if any(cell != "–" for cell in row[1:])]),
            markdown_text(verdict(evidence, one, other)),
        ]
    return "\n\n".join(["![accuracy against density](lottery.svg)", *parts]) + "\n"


def accuracy_against_density(evidence: Evidence) -> str:
    """The text of `lottery.svg`: a panel per dataset with the mean test accuracy against density, densest on the left.

    Bars are the standard deviation over seeds.
    """
    ticks = tuple(sorted(set(evidence.densities.values())))
    density = charts.Axis(label="density", log=True, falls=True, ticks=ticks, text=lambda value: f"{100 * value:.3g} %")
    accuracy = charts.Axis(label="test accuracy (points)")
    legend = {_legend(series): style for style, series in enumerate(evidence.series)}
    panels = [
        charts.panel(
            dataset,
            [_line(evidence, dataset, series, style) for style, series in enumerate(evidence.series)],
            density,
            accuracy,
        )
        for dataset in evidence.datasets
    ]
    return drawing.figure("test accuracy against density", [panel for panel in panels if panel], legend)


def _line(evidence: Evidence, dataset: str, series: TicketSeries, style: int) -> charts.Series:
    """One series on one dataset. Lines are shifted a little, so that their bars stand side by side."""
    shift = 1 + 0.03 * (style - len(evidence.series) / 2)
    points = [
        (evidence.densities[number] * shift, point.mean, None if math.isnan(point.deviation) else point.deviation)
        for number, point in evidence.points(dataset, series).items()
    ]
    return charts.Series(name=_legend(series), style=style, points=points)


def _legend(series: TicketSeries) -> str:
    method, ticket = series
    return f"{method}: {'winning tickets' if ticket == WINNING else ticket.replace('_', ' ')}"


def verdict(evidence: Evidence, one: TicketSeries, other: TicketSeries) -> str:
    """One sentence that names the comparisons in which the interval leaves out 0.

    Args:
        evidence: the study's accuracies.
        one: the series that is compared.
        other: the series that it is compared with.
    """
    places: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for number, density in evidence.densities.items():
        for dataset, difference in evidence.differences(one, other, number).items():
            places[sign(difference)].append(f"{dataset} at {density:.3g}")
    clauses = [
        f"{title(one)} {word} in {len(places[side])} of {sum(map(len, places.values()))} comparisons"
        + (f" ({'; '.join(places[side])})" if side and places[side] else "")
        for side, word in ((1, "is better"), (-1, "is worse"), (0, "cannot be told apart"))
    ]
    return "; ".join(clauses) + ". (One in twenty leaves out 0 by chance.)"


def title(series: TicketSeries) -> str:
    """A series for people, such as `lion, random ticket`."""
    method, ticket = series
    return f"{method}, {ticket.replace('_', ' ')}"


def _worth(rows: Sequence[FinalRow]) -> str:
    """The tables of accuracies without prompts and against the linear probe, if the study has them."""
    table, probe = worth.rows_of(rows), next((row["method"] for row in rows if worth.is_probe(row)), None)
    parts = [worth.CAPTION, _table(worth.HEADS, table)] if table else []
    parts += [comparison.text(comparison.with_distinct_datasets(rows), probe)] if table and probe else []
    return "".join(f"\n{part}\n" for part in parts)


def _accuracy_rows(evidence: Evidence) -> list[list[str]]:
    rows = []
    for dataset in evidence.datasets:
        points = {series: evidence.points(dataset, series) for series in evidence.series}
        for number, density in evidence.densities.items():
            cells = [points[series].get(number) for series in evidence.series]
            rows.append([dataset, f"{density:.3f}", *(_cell(cell) for cell in cells)])
    return rows


def _cell(value: Spread | None) -> str:
    if value is None:
        return "–"
    return f"{value.mean:.1f}" + ("" if math.isnan(value.deviation) else f" ± {value.deviation:.1f}")


def _difference_row(evidence: Evidence, one: TicketSeries, other: TicketSeries, number: int) -> list[str]:
    differences = evidence.differences(one, other, number)
    names = (*evidence.datasets, THESE, LIKE_THESE)
    return [f"{evidence.densities[number]:.3f}", *(_interval(differences.get(name)) for name in names)]


def _interval(value: Difference | None) -> str:
    if value is None:
        return "–"
    text = f"{value.mean:+.1f}" + ("" if math.isnan(value.low) else f" ({value.low:+.1f} to {value.high:+.1f})")
    return f"**{text}**" if sign(value) else text


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(markdown_row(list(line)) for line in lines)
