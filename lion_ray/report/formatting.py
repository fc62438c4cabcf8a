"""The texts of table lines, means, cells and numbers. The page, the exports and the terminal's tables share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from lion_ray.lottery import WINNING, cut_off
from lion_ray.report.scores import NOT_ASKED, Mean, Score, TableCell
from lion_ray.report.trainings import ResultLine
from lion_ray.study.plan import Plan, PlannedExperiment
from lion_ray.study.record import RoundRecord

NONE = "–"


def title(line: ResultLine) -> str:
    """A table line, such as `lion, round 4`; with several studies `study: lion, random ticket, round 4`."""
    ticket = "" if line.ticket == WINNING else f", {line.ticket.replace('_', ' ')}"
    return method_text(line) + ticket + (f", round {line.round}" if line.round else "")


def method_text(line: ResultLine) -> str:
    """The method entry of a table line, with its study if there are several."""
    return (f"{line.study}: " if line.study else "") + line.method


def plus_minus(cell: TableCell) -> str:
    """A cell in points, such as `87.3 ± 0.4`, with the number of seeds if some are missing; a dash if all are."""
    if cell.mean.value is None:
        return NONE
    text = f"{cell.mean.value:.1f}" + ("" if cell.deviation is None else f" ± {cell.deviation:.1f}")
    return text if cell.mean.is_complete else f"{text} (mean of {cell.mean.num} of {cell.mean.asked})"


def mean_text(mean: Mean) -> str:
    """A mean in points: `75.1`, `75.1 (mean of 17 of 19)`, or `75.1 (56 of 57 trainings)` if only seeds are missing."""
    if mean.value is None:
        return NONE
    return f"{mean.value:.1f}{incomplete_text(mean)}"


def incomplete_text(mean: Mean) -> str:
    """The part of a mean that is there, in brackets; empty if nothing is missing or everything is."""
    if mean.value is None:
        return ""
    if not mean.is_complete:
        return f" (mean of {mean.num} of {mean.asked})"
    return f" ({mean.runs[0]} of {mean.runs[1]} trainings)" if mean.runs[0] < mean.runs[1] else ""


def interval_text(score: Score) -> str:
    """The 95 % interval of the task mean over exactly these n datasets, such as `82.1 to 84.0, n = 4`."""
    interval = score.interval
    return NONE if interval is None else f"{interval.low:.1f} to {interval.high:.1f}, n = {interval.num}"


def rank_text(score: Score) -> str:
    """The mean rank with two decimals; a dash if there is none."""
    return NONE if score.rank is None else f"{score.rank:.2f}"


def number_text(value: float | None) -> str:
    """A count with thousands separated, such as `12,288`; a mean over datasets is rounded."""
    return NONE if value is None else f"{value:,.0f}"


def missing_text(missing: Mapping[str, int]) -> str:
    """The reasons of missing trainings with their numbers, such as `2 × failed: out of memory; 1 × not run yet`."""
    return "; ".join(f"{num} × {reason}" for reason, num in missing.items())


def missing_kinds(missing: Mapping[str, int]) -> str:
    """The reasons of missing trainings in short, such as `2 failed, 1 running or waiting`."""
    kinds: Counter[str] = Counter()
    for reason, num in missing.items():
        kinds[reason.partition(":")[0]] += num
    return ", ".join(f"{num} {kind}" if kind != NOT_ASKED else kind for kind, num in kinds.items())


def accuracy_text(value: float | None) -> str:
    """An accuracy with three decimals, or a dash if the stage has none."""
    return "-" if value is None else f"{value:.3f}"


def without_path(plan: Plan) -> list[str]:
    """One line for every round with a prompt that pruning has cut off, so that it adds the same to every image."""
    return [
        f"CUT OFF {round_label(item, record)}: {cut_off(prompts)}"
        for item in plan.items
        for record in (*item.rounds, *item.controls)
        if (prompts := record.metrics.without_path)
    ]


def round_label(item: PlannedExperiment, record: RoundRecord) -> str:
    """A round or control for people, such as `mnist/lion seed 0 round 2 random_ticket`."""
    ticket = f" {record.ticket}" if record.ticket != WINNING else ""
    return f"{item.experiment.label} round {record.round}{ticket}"


def unconverged(plan: Plan) -> list[str]:
    """One line for every round with solves that did not converge, which its accuracy does not show."""
    lines = []
    for item in plan.items:
        for record in (*item.rounds, *item.controls):
            solves = record.metrics.solves
            if solves.share_unconverged:
                nonfinite = f", {solves.num_nonfinite:,} of them not finite" * bool(solves.num_nonfinite)
                lines.append(
                    f"UNCONVERGED {round_label(item, record)}: {solves.share_unconverged:.1%} of {solves.num:,} "
                    f"equilibrium solves{nonfinite}, worst residual {solves.residual_max:.2g}: its figures are not an "
                    "equilibrium's"
                )
    return lines


def aligned(heads: Sequence[str], body: Sequence[Sequence[str]], *, left: Collection[int]) -> list[str]:
    """A table for the terminal as lines: the heads, a rule and the body.

    Args:
        heads: the text above each column.
        body: the cells of each line.
        left: the indices of the columns that are aligned to the left; the others are aligned to the right.
    """
    widths = [max(len(line[column]) for line in (heads, *body)) for column in range(len(heads))]
    first, *rest = (_align(line, widths, left) for line in (heads, *body))
    return [first, "-" * len(first), *rest]


def _align(line: Sequence[str], widths: Sequence[int], left: Collection[int]) -> str:
    cells = enumerate(zip(line, widths, strict=True))
    padded = (text.ljust(width) if column in left else text.rjust(width) for column, (text, width) in cells)
    return "  ".join(padded).rstrip()
