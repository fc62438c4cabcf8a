"""The table of the settings that searches have chosen, for the page and for the end of a run.

`lion_ray.report.page` and `lion_ray.report.tables` call it.
"""

from __future__ import annotations

from lion_ray.experiments import entry_label, text_of
from lion_ray.report.formatting import aligned
from lion_ray.study.plan import ChosenSetting, Plan

HEADS = ("dataset", "method", "chosen setting", "val acc", "of trials", "rounds")


def rows(plan: Plan) -> list[tuple[str, ...]]:
    """One row of cells, under `HEADS`, for each dataset and method entry whose setting is chosen."""
    return [_row(chosen) for chosen in plan.chosen]


def text(plan: Plan) -> str:
    """The table for the terminal."""
    return "\n".join(["\nchosen on validation", *aligned(HEADS, rows(plan), left=(0, 1, 2))])


def _row(chosen: ChosenSetting) -> tuple[str, ...]:
    which = f" (round {chosen.compared})" if chosen.rounds > 1 else ""
    return (
        chosen.trial.dataset_label,
        entry_label(chosen.trial.method),
        text_of(chosen.setting, sort=False) or "the study's",
        f"{chosen.accuracy:.3f}{which}",
        str(chosen.num_trials),
        str(chosen.rounds),
    )
