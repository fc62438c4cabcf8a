"""How the report writes lines, means, cells and numbers; the page and the text tables use the same words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from lion_ray.lottery import WINNING
from lion_ray.report.scores import NOT_ASKED, Mean, Score, TableCell
from lion_ray.report.trainings import ResultLine

NONE = "–"


def title(line: ResultLine) -> str:
    """`lion, round 4`; of several studies `study: lion, random ticket, round 4`."""
    ticket = "" if line.ticket == WINNING else f", {line.ticket.replace('_', ' ')}"
    return method_text(line) + ticket + (f", round {line.round}" if line.round else "")


def method_text(line: ResultLine) -> str:
    """The method entry alone."""
    return (f"{line.study}: " if line.study else "") + line.method


def plus_minus(cell: TableCell) -> str:
    """`87.3 ± 0.4`, and how many of the seeds that is where some are missing; a dash for none."""
    if cell.mean.value is None:
        return NONE
    text = f"{cell.mean.value:.1f}" + ("" if cell.deviation is None else f" ± {cell.deviation:.1f}")
    return text if cell.mean.is_complete else f"{text} (mean of {cell.mean.num} of {cell.mean.asked})"


def mean_text(mean: Mean) -> str:
    """`75.1`, or `75.1 (mean of 17 of 19)`, or `75.1 (56 of 57 trainings)` where only seeds are missing."""
    if mean.value is None:
        return NONE
    return f"{mean.value:.1f}{incomplete_text(mean)}"


def incomplete_text(mean: Mean) -> str:
    """What is missing of a mean, in brackets; empty if nothing or everything is."""
    if mean.value is None:
        return ""
    if not mean.is_complete:
        return f" (mean of {mean.num} of {mean.asked})"
    return f" ({mean.runs[0]} of {mean.runs[1]} trainings)" if mean.runs[0] < mean.runs[1] else ""


def interval_text(score: Score) -> str:
    """`82.1 to 84.0, n = 4`: about exactly these n datasets."""
    found = score.interval
    return NONE if found is None else f"{found.low:.1f} to {found.high:.1f}, n = {found.num}"


def rank_text(score: Score) -> str:
    """The mean rank with two digits."""
    return NONE if score.rank is None else f"{score.rank:.2f}"


def number_text(value: float | None) -> str:
    """A count with thousands apart; means over datasets are rounded."""
    return NONE if value is None else f"{value:,.0f}"


def missing_text(missing: Mapping[str, int]) -> str:
    """`2 failed: out of memory; 1 running or waiting`."""
    return "; ".join(f"{num} × {reason}" for reason, num in missing.items())


def missing_kinds(missing: Mapping[str, int]) -> str:
    """`2 failed, 1 running or waiting`: the reasons in short."""
    kinds: Counter[str] = Counter()
    for reason, num in missing.items():
        kinds[reason.partition(":")[0]] += num
    return ", ".join(f"{num} {kind}" if kind != NOT_ASKED else kind for kind, num in kinds.items())


def aligned(heads: Sequence[str], body: Sequence[Sequence[str]], *, left: Collection[int]) -> list[str]:
    """Heads, a rule and the body as lines of equal columns; those in `left` are aligned to the left."""
    widths = [max(len(line[column]) for line in (heads, *body)) for column in range(len(heads))]
    first, *rest = (_align(line, widths, left) for line in (heads, *body))
    return [first, "-" * len(first), *rest]


def _align(line: Sequence[str], widths: Sequence[int], left: Collection[int]) -> str:
    cells = enumerate(zip(line, widths, strict=True))
    padded = (text.ljust(width) if column in left else text.rjust(width) for column, (text, width) in cells)
    return "  ".join(padded).rstrip()
