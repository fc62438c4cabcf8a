"""One HTML page about one study or several, which `lion-ray report` writes, and every run at its end.

The page is one file that needs no network and no script. The template escapes every text that comes from a file.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Mapping, Sequence

import jinja2

from lion_ray.report import charts, drawing, exports, formatting, history, settings
from lion_ray.report.figures import Figure, density, parameters
from lion_ray.report.published import GROUPS, published
from lion_ray.report.ranking import compared, main_trainings, ranked_datasets
from lion_ray.report.scores import Score
from lion_ray.report.trainings import StudyView, Training, all_trainings, groups, vtab_tasks
from lion_ray.store import Store, redacted

FILE = "report.html"
COLUMNS = 8  # table lines beside each other in the table by dataset; more go into further tables
MAX_ROWS = 200  # of the table beside a plot, and of the list of missing trainings


@dataclasses.dataclass(frozen=True, kw_only=True)
class MissingTrainings:
    """The `num` trainings of one method entry that are missing for one reason, with up to three `examples`."""

    method: str
    reason: str
    num: int
    examples: Sequence[str]


def files(views: Sequence[StudyView]) -> dict[str, bytes]:
    """The report's files by their names: the page and the exports of its two tables."""
    trainings, by_dataset = all_trainings(views), groups(views)
    main, every = compared(main_trainings(trainings), by_dataset), compared(trainings, by_dataset)
    names = [view.name for view in views]
    page = _page(views, trainings, main, every, by_dataset).encode()
    return {FILE: page, **exports.files("main", main, names), **exports.files("rounds", every, names)}


def write(views: Sequence[StudyView], folder: str) -> str:
    """Write the report's files into `folder`, a local path or fsspec URL; returns the URL of the page."""
    store = Store(folder)
    for name, payload in files(views).items():
        store.write(name, payload)
    return f"{store.url}/{FILE}"


def _page(
    views: Sequence[StudyView],
    trainings: Sequence[Training],
    main: Sequence[Score],
    every: Sequence[Score],
    by: Mapping[str, str],
) -> str:
    drawn: list[Figure | None] = [density(every, by), parameters(every)]
    drawn += [history.curves(trainings, by, key, label) for key, label in history.CURVES]
    drawn += [history.health(trainings), history.time_spent(trainings, by)]
    tasks = vtab_tasks(views)
    return _template().render(
        views=views,
        states=[_state(view) for view in views],
        main=main,
        every=every if len(every) > len(main) else [],
        blocks=[main[first : first + COLUMNS] for first in range(0, len(main), COLUMNS)],
        groups=by,
        group_names=list(dict.fromkeys(by.values())),
        ranked=ranked_datasets(main),
        figures=[figure for figure in drawn if figure],
        missing=_missing(trainings),
        settings=_settings(views),
        setting_heads=settings.HEADS if len(views) == 1 else ("study", *settings.HEADS),
        cut_off=_cut_off(trainings),
        unconverged=_unconverged(trainings),
        tasks=len(tasks),
        published=published() if tasks else [],
        published_groups=GROUPS,
        latest=_latest(trainings),
        max_rows=MAX_ROWS,
        num_colours=charts.NUM_COLOURS,
    )


def _template() -> jinja2.Template:
    environment = drawing.environment()
    environment.filters |= {"is_number": _is_number, "redacted": redacted}
    environment.globals["formatting"] = formatting
    return environment.get_template("page.html")


def _is_number(text: str) -> bool:
    """Whether a cell is aligned to the right: it begins with a digit, a sign or the dash of a missing number."""
    return text[:1].isdigit() or text[:1] in ("–", "+", "-")


def _state(view: StudyView) -> dict[str, object]:
    plan = view.plan
    trainings = [len(item.rounds) + len(item.controls) for item in plan.items]
    failed = sum(item.experiment.name in view.failures and not item.is_finished for item in plan.items)
    stopped = sum(item.stop is not None and item.is_finished for item in plan.items)
    driver = f"{view.driver} works on it" if view.driver else "nobody works on it"
    return {
        "experiments": len(plan.items) + len(plan.awaiting_choice),
        "finished": len(plan.items) - len(plan.pending),
        "stopped": stopped,
        "failed": failed,
        "trainings": sum(trainings),
        "state": "complete" if not plan.pending else f"unfinished; {driver}",
    }


def _settings(views: Sequence[StudyView]) -> list[tuple[str, ...]]:
    """The chosen setting of each search, with its study's name if there are several studies."""
    return [(view.name, *row) if len(views) > 1 else row for view in views for row in settings.rows(view.plan)]


def _missing(trainings: Sequence[Training]) -> list[MissingTrainings]:
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], dict[str, None]] = {}
    for training in trainings:
        if training.record is None:
            place = formatting.method_text(training.line), training.reason
            counts[place] += 1
            some = examples.setdefault(place, {})
            if len(some) < 3:
                some[training.experiment] = None
    return [
        MissingTrainings(method=place[0], reason=place[1], num=num, examples=list(examples[place]))
        for place, num in counts.items()
    ]


def _cut_off(trainings: Sequence[Training]) -> list[str]:
    """One text for each training with a prompt that has no path of surviving weights."""
    return [
        f"{formatting.title(training.line)} on {training.dataset}, seed {training.seed}: {' and '.join(prompts)}"
        for training in trainings
        if training.record and (prompts := training.record.metrics.without_path)
    ]


def _unconverged(trainings: Sequence[Training]) -> list[str]:
    """One text for each training with solves that did not converge, which its accuracy does not show."""
    lines = []
    for training in trainings:
        if training.record and (solves := training.record.metrics.solves).share_unconverged:
            what = f"{formatting.title(training.line)} on {training.dataset}, seed {training.seed}"
            worst = f"worst residual {solves.residual_max:.2g}"
            lines.append(f"{what}: {solves.share_unconverged:.1%} of {solves.num:,} solves, {worst}")
    return lines


def _latest(trainings: Sequence[Training]) -> str:
    """The end of the last training by its node's clock, in UTC. The page holds no other time, so it is repeatable."""
    times = [
        training.record.finished for training in trainings if training.record and training.record.finished is not None
    ]
    if not times:
        return ""
    return datetime.datetime.fromtimestamp(max(times), tz=datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
