"""`python -m lion_ray.report.lottery STUDY_URL FOLDER`: a finished lottery study as `lottery.md` and `lottery.svg`.

Reads `results.parquet` alone. The text says where winning tickets beat their controls, and where they do not.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lion_ray.report.evidence import Evidence, Series, read
from lion_ray.report.statistics import Spread

BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, read, write; a study that is not there is one line and exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m lion_ray.report.lottery", description=__doc__)
    parser.add_argument("study_url", help="<storage>/<study> of a finished study, any fsspec URL")
    parser.add_argument("folder", type=Path, help="where lottery.md and lottery.svg go")
    options = parser.parse_args(arguments)
    try:
        from lion_ray.report.plots import accuracy_against_density  # matplotlib comes with an extra

        evidence = read(options.study_url)
    except ImportError as error:
        print(f"{error}; pip install 'lion-ray[report]' brings matplotlib", file=sys.stderr)
        return BAD_INPUT
    except (OSError, ValueError) as error:
        print(f"{options.study_url}: {error}", file=sys.stderr)
        return BAD_INPUT
    if not evidence.datasets:
        print(f"{options.study_url}: no method of this study has a pruned round", file=sys.stderr)
        return BAD_INPUT
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "lottery.md").write_text(markdown(evidence), encoding="utf-8")
    accuracy_against_density(evidence, options.folder / "lottery.svg")
    print(f"{options.folder / 'lottery.md'}\n{options.folder / 'lottery.svg'}")
    return 0


def markdown(evidence: Evidence) -> str:
    """The accuracies, the paired differences, and what they say."""
    parts = [
        "Test accuracy in points, mean ± standard deviation over seeds.",
        _table(("dataset", "density", *map(title, evidence.series)), _accuracy_rows(evidence)),
        "Paired differences in points (same dataset, round and seed), mean and 95 % interval (Student's t); "
        "**bold** where the interval leaves out 0. Methods that differ in their settings have other starts at the "
        "same seed: their pairs share dataset and seed number only.",
    ]
    for one, other in evidence.comparisons:
        heads = ("density", *evidence.datasets, "all")
        rows = [_difference_row(evidence, one, other, number) for number in evidence.densities]
        parts += [
            f"{title(one)} − {title(other)}:",
            _table(heads, [row for row in rows if any(cell != "–" for cell in row[1:])]),
            verdict(evidence, one, other),
        ]
    return "\n\n".join(["![accuracy against density](lottery.svg)", *parts]) + "\n"


def verdict(evidence: Evidence, one: Series, other: Series) -> str:
    """Where the interval leaves out 0, in one sentence."""
    found: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for number, density in evidence.densities.items():
        for where in [[dataset] for dataset in evidence.datasets] + [evidence.datasets]:
            difference = evidence.differences(one, other, number, where)
            if difference is not None:
                place = where[0] if len(where) == 1 else "all datasets together"
                found[difference.sign].append(f"{place} at {density:.3g}")
    clauses = [
        f"{title(one)} {word} in {len(found[sign])} of {sum(map(len, found.values()))} comparisons"
        + (f" ({'; '.join(found[sign])})" if sign and found[sign] else "")
        for sign, word in ((1, "is better"), (-1, "is worse"), (0, "cannot be told apart"))
    ]
    return "; ".join(clauses) + ". (One in twenty leaves out 0 by chance.)"


def title(series: Series) -> str:
    """`lion winning` for people."""
    method, ticket = series
    return f"{method}, {ticket.replace('_', ' ')}"


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
    return f"{value.mean:.1f}" + (f" ± {value.deviation:.1f}" if value.count > 1 else "")


def _difference_row(evidence: Evidence, one: Series, other: Series, number: int) -> list[str]:
    wheres = [[dataset] for dataset in evidence.datasets] + [evidence.datasets]
    found = [evidence.differences(one, other, number, where) for where in wheres]
    return [f"{evidence.densities[number]:.3f}", *(_interval(value) for value in found)]


def _interval(value: Spread | None) -> str:
    if value is None:
        return "–"
    text = f"{value.mean:+.1f}" + (f" ± {value.half_interval:.1f}" if value.count > 1 else "")
    return f"**{text}**" if value.sign else text


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
