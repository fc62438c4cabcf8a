"""The templates of the report, and plots as SVG files of their own.

`lion_ray.report.page`, `lion_ray.report.lottery` and the benchmarks draw here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jinja2

from lion_ray.report import charts

LEGEND_ROW, LETTER = 18, 6.2  # pixels: a row of the legend, and the mean width of a letter in it


def environment() -> jinja2.Environment:
    """The Jinja environment of the templates beside this file. An unknown name is an error; values are escaped."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("lion_ray.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals |= {"charts": charts}
    return templates


def figure(title: str, panels: Sequence[charts.Panel], legend: Mapping[str, int]) -> str:
    """The text of an SVG file with panels side by side above their legend. The same panels give the same text.

    Args:
        title: the text that screen readers read.
        panels: the panels, from left to right.
        legend: the style of each series by its name.
    """
    width = charts.WIDTH * len(panels)
    places = _places(legend, width, charts.HEIGHT + 36)
    height = max((y for *_, y in places), default=charts.HEIGHT + 22) + LEGEND_ROW
    template = environment().get_template("figure.svg")
    return template.render(title=title, panels=panels, legend=places, width=width, height=height)


def _places(legend: Mapping[str, int], width: int, first: int) -> list[tuple[str, int, float, int]]:
    """Name, style, x and y in pixels of each entry of the legend, with as many entries in a row as fit."""
    x, y, places = float(charts.LEFT), first, []
    for name, style in legend.items():
        needed = 56 + LETTER * len(name)
        if x > charts.LEFT and x + needed > width:
            x, y = float(charts.LEFT), y + LEGEND_ROW
        places.append((name, style, x, y))
        x += needed
    return places
