"""Figures from evidence, as SVG. Okabe and Ito's colours, and a marker and a line style each: no colour is needed."""

from __future__ import annotations

import math
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lion_ray.lottery import WINNING
from lion_ray.report.evidence import Evidence

STYLES = (
    ("#0072B2", "o", "-"),
    ("#E69F00", "s", "--"),
    ("#009E73", "^", "-."),
    ("#CC79A7", "D", ":"),
    ("#56B4E9", "v", "--"),
    ("#D55E00", "P", "-."),
    ("#000000", "X", ":"),
)
FIXED = {"svg.hashsalt": "lion_ray", "svg.fonttype": "none"}  # the same bits every time, and text that can be searched


def accuracy_against_density(evidence: Evidence, path: Path) -> None:
    """One panel per dataset: mean test accuracy and its standard deviation over seeds, densest on the left."""
    with mpl.rc_context(FIXED):
        figure = Figure(figsize=(4.2 * len(evidence.datasets), 4.2), layout="constrained")
        for index, dataset in enumerate(evidence.datasets):
            axes = figure.add_subplot(1, len(evidence.datasets), index + 1)
            _panel(axes, evidence, dataset)
            if index == 0:
                axes.set_ylabel("test accuracy (points)")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=len(evidence.series))
        figure.savefig(path, format="svg", metadata={"Date": None})


def _panel(axes: Axes, evidence: Evidence, dataset: str) -> None:
    for place, series in enumerate(evidence.series):
        colour, marker, line = STYLES[place % len(STYLES)]
        points = evidence.points(dataset, series)
        shift = 1 + 0.03 * (place - len(evidence.series) / 2)  # so that bars stand side by side
        axes.errorbar(
            [evidence.densities[number] * shift for number in points],
            [point.mean for point in points.values()],
            yerr=[0.0 if math.isnan(point.deviation) else point.deviation for point in points.values()],
            color=colour,
            marker=marker,
            linestyle=line,
            capsize=2,
            label=f"{series[0]}: {'winning tickets' if series[1] == WINNING else series[1].replace('_', ' ')}",
        )
    axes.set_xscale("log")
    axes.invert_xaxis()
    densities = sorted(evidence.densities.values())
    axes.set_xticks(densities, [f"{100 * density:.3g} %" for density in densities], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("density")
    axes.set_title(dataset)
    axes.grid(alpha=0.3)
