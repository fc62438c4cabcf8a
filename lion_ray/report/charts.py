"""Layout of line plots in pixels, which the templates of the report draw as SVG.

No plot library is needed: a panel is a few kilobytes of text that scales, can be searched and follows the reader's dark
or light mode. A series' style is its number in the figure; it selects a colour (of Okabe and Ito), a marker and a dash.
`lion_ray.report.figures`, `history` and `lottery` build panels, and `lion_ray.report.drawing` draws them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 360, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 8, 38
MARKERS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0Z",  # circle, square, triangle, diamond, triangle down, plus, cross, bar
    "M-3.5 -3.5h7v7h-7Z",
    "M0 -4.5L4.5 3.5H-4.5Z",
    "M0 -5L4.5 0L0 5L-4.5 0Z",
    "M0 4.5L4.5 -3.5H-4.5Z",
    "M-1.3 -4.5h2.6v3.2h3.2v2.6h-3.2v3.2h-2.6v-3.2h-3.2v-2.6h3.2Z",
    "M-4 -2.2L-2.2 -4L0 -1.8L2.2 -4L4 -2.2L1.8 0L4 2.2L2.2 4L0 1.8L-2.2 4L-4 2.2L-1.8 0Z",
    "M-4.5 -1.6h9v3.2h-9Z",
)
DASHES = ("none", "6 3", "2 3", "8 3 2 3", "12 4")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")  # Okabe and Ito's
NUM_COLOURS = len(COLOURS)  # they, the markers and the dashes have no common period below 280 series


@dataclasses.dataclass(frozen=True, kw_only=True)
class Axis:
    """One axis of a panel.

    label   the text beside the axis, with its unit.
    log     whether the scale is logarithmic; values of 0 and below are then left out.
    falls   whether values fall from left to right.
    counts  whether the values are whole numbers, so that ticks are at least 1 apart.
    ticks   the values of the ticks; empty chooses round numbers.
    text    writes a tick's value.
    """

    label: str
    log: bool = False
    falls: bool = False
    counts: bool = False
    ticks: tuple[float, ...] = ()
    text: Callable[[float], str] = "{:g}".format


@dataclasses.dataclass(frozen=True, kw_only=True)
class Series:
    """One line of a panel through its points (x, y, deviation), in their order.

    `deviation` is drawn as a vertical bar of y ± deviation; None draws none. A series with `is_front` is a line without
    markers behind the others.
    """

    name: str
    style: int
    points: Sequence[tuple[float, float, float | None]]
    is_front: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class DrawnSeries:
    """A series in pixels: its SVG path, its points (x, y) and its deviation bars (x, y of one end, y of the other)."""

    name: str
    style: int
    path: str
    points: Sequence[tuple[float, float]]
    bars: Sequence[tuple[float, float, float]]
    is_front: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Panel:
    """One small plot in pixels. Ticks are pairs of a place in pixels and a text."""

    title: str
    x_label: str
    y_label: str
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    series: Sequence[DrawnSeries]


def panel(title: str, series: Sequence[Series], x: Axis, y: Axis) -> Panel | None:
    """Lay a plot out in pixels.

    Args:
        title: the text above the plot.
        series: the lines. Points that are not finite, or not positive on a logarithmic axis, are left out.
        x: the horizontal axis.
        y: the vertical axis.

    Returns:
        The panel; None if no point is left.
    """
    kept = [
        dataclasses.replace(line, points=[p for p in line.points if _fits(p[0], x) and _fits(p[1], y)])
        for line in series
    ]
    points = [point for line in kept for point in line.points]
    if not points:
        return None
    spans = [
        value
        for _, y_, deviation in points
        for value in (y_ - (deviation or 0), y_ + (deviation or 0))
        if _fits(value, y)
    ]
    to_x, x_ticks = _scale([point[0] for point in points], x, LEFT + 8, WIDTH - RIGHT - 8)
    to_y, y_ticks = _scale(spans, y, HEIGHT - BOTTOM - 6, TOP + 6)
    return Panel(
        title=title,
        x_label=x.label,
        y_label=y.label,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        series=[_drawn(line, to_x, to_y, y) for line in kept if line.points],
    )


def marker(style: int) -> str:
    """The SVG path of a style's marker, centred on (0, 0)."""
    return MARKERS[style % len(MARKERS)]


def dash(style: int) -> str:
    """The SVG `stroke-dasharray` of a style's line."""
    return DASHES[style % len(DASHES)]


def _fits(value: float, axis: Axis) -> bool:
    return math.isfinite(value) and (value > 0 or not axis.log)


def _drawn(series: Series, to_x: Callable[[float], float], to_y: Callable[[float], float], y: Axis) -> DrawnSeries:
    places = [(to_x(point[0]), to_y(point[1])) for point in series.points]
    bars = [
        (to_x(x), to_y(value - deviation), to_y(value + deviation))
        for x, value, deviation in series.points
        if deviation and _fits(value - deviation, y)
    ]
    path = "M" + "L".join(f"{px} {py}" for px, py in places)
    return DrawnSeries(
        name=series.name, style=series.style, path=path, points=places, bars=bars, is_front=series.is_front
    )


def _scale(
    values: Sequence[float], axis: Axis, first: float, last: float
) -> tuple[Callable[[float], float], list[tuple[float, str]]]:
    """The function from values to pixels between `first` and `last`, and the ticks in pixels with their texts."""
    forward: Callable[[float], float] = math.log10 if axis.log else float
    shown = [*values, *axis.ticks]
    low, high = forward(min(shown)), forward(max(shown))
    if high - low < 1e-9:
        margin = 0.3 if axis.log else max(abs(low) * 0.05, 0.5)
        low, high = low - margin, high + margin
    if axis.falls:
        first, last = last, first

    def place(value: float) -> float:
        return round(first + (forward(value) - low) / (high - low) * (last - first), 1)

    chosen = axis.ticks or (_log_ticks(low, high) if axis.log else _ticks(low, high, least=axis.counts))
    inside = [tick for tick in chosen if low - 1e-9 <= forward(tick) <= high + 1e-9]
    return place, [(place(tick), axis.text(tick)) for tick in inside]


def _ticks(low: float, high: float, *, least: float) -> list[float]:
    """About five round numbers that are at least `least` apart."""
    rough = max((high - low) / 5, least)
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(step * number, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times each power of ten if there are few powers, otherwise about six powers of ten."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    if len(decades) > 3:
        return [10.0**decade for decade in decades if decade % math.ceil(len(decades) / 6) == 0]
    return [factor * 10.0**decade for decade in decades for factor in (1, 2, 5)]
