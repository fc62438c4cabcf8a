"""One HTML file about one study or several: what `lion-ray report` writes, and every run at its end.

Everything is inside the file; it needs no network and no script. The template escapes whatever comes from files.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Mapping, Sequence

import jinja2

from lion_ray.report import charts, exports, formatting, history, settings
from lion_ray.report.figures import Figure, density, parameters
from lion_ray.report.published import GROUPS, published
from lion_ray.report.ranking import compared, main_slots, ranked_datasets
from lion_ray.report.scores import Score
from lion_ray.report.trainings import StudyView, Training, groups, slots, vtab_tasks
from lion_ray.store import Store, redacted

FILE = "report.html"
COLUMNS = 8  # lines beside each other in the table by dataset; more go into further tables
MAX_ROWS = 200  # of the table beside a plot, and of the list of what is missing


@dataclasses.dataclass(frozen=True, kw_only=True)
class Missing:
    """Trainings that are missing for one reason, by method entry."""

    method: str
    reason: str
    num: int
    examples: Sequence[str]


def files(views: Sequence[StudyView]) -> dict[str, bytes]:
    """The report's files by name."""
    found, by_dataset = slots(views), groups(views)
    main, every = compared(main_slots(found), by_dataset), compared(found, by_dataset)
    names = [view.name for view in views]
    page = _page(views, found, main, every, by_dataset).encode()
    return {FILE: page, **exports.files("main", main, names), **exports.files("rounds", every, names)}


def write(views: Sequence[StudyView], folder: str) -> str:
    """Put the files into `folder`, a path or URL; returns where the page is."""
    store = Store(folder)
    for name, payload in files(views).items():
        store.write(name, payload)
    return f"{store.url}/{FILE}"


def _page(
    views: Sequence[StudyView],
    found: Sequence[Training],
    main: Sequence[Score],
    every: Sequence[Score],
    by: Mapping[str, str],
) -> str:
    drawn: list[Figure | None] = [density(every, by), parameters(every)]
    drawn += [history.curves(found, by, key, label) for key, label in history.CURVES]
    drawn += [history.health(found), history.time_spent(found, by)]
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
        missing=_missing(found),
        settings=_settings(views),
        setting_heads=settings.HEADS if len(views) == 1 else ("study", *settings.HEADS),
        cut_off=_cut_off(found),
        unconverged=_unconverged(found),
        tasks=len(tasks),
        published=published() if tasks else [],
        published_groups=GROUPS,
        latest=_latest(found),
        max_rows=MAX_ROWS,
        num_colours=charts.NUM_COLOURS,
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lion_ray.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"is_number": _is_number, "redacted": redacted}
    environment.globals |= {"words": formatting, "charts": charts}
    return environment.get_template("page.html")


def _is_number(text: str) -> bool:
    """Whether a cell belongs to the right: it begins with a digit, a sign or the dash of nothing."""
    return text[:1].isdigit() or text[:1] in ("–", "+", "-")


def _state(view: StudyView) -> dict[str, object]:
    plan = view.plan
    trainings = [len(item.rounds) + len(item.controls) for item in plan.items]
    failed = sum(item.experiment.name in view.failures and not item.is_finished for item in plan.items)
    stopped = sum(item.stop is not None and item.is_finished for item in plan.items)
    words = f"{view.driver} works on it" if view.driver else "nobody works on it"
    return {
        "experiments": len(plan.items) + len(plan.awaiting_choice),
        "finished": len(plan.items) - len(plan.pending),
        "stopped": stopped,
        "failed": failed,
        "trainings": sum(trainings),
        "state": "complete" if not plan.pending else f"unfinished; {words}",
    }


def _settings(views: Sequence[StudyView]) -> list[tuple[str, ...]]:
    """What each search has chosen, under its study's name if there are several."""
    return [(view.name, *row) if len(views) > 1 else row for view in views for row in settings.rows(view.plan)]


def _missing(found: Sequence[Training]) -> list[Missing]:
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], dict[str, None]] = {}
    for slot in found:
        if slot.record is None:
            place = formatting.method_text(slot.line), slot.reason
            counts[place] += 1
            some = examples.setdefault(place, {})
            if len(some) < 3:
                some[slot.experiment] = None
    return [
        Missing(method=place[0], reason=place[1], num=num, examples=list(examples[place]))
        for place, num in counts.items()
    ]


def _cut_off(found: Sequence[Training]) -> list[str]:
    """Trainings with a prompt that no surviving weights lead through."""
    return [
        f"{formatting.title(slot.line)} on {slot.dataset}, seed {slot.seed}: {' and '.join(prompts)}"
        for slot in found
        if slot.record and (prompts := slot.record.metrics.without_path)
    ]


def _unconverged(found: Sequence[Training]) -> list[str]:
    """Trainings whose figures are not those of equilibria; accuracy does not show it."""
    lines = []
    for slot in found:
        if slot.record and (solves := slot.record.metrics.solves).share_unconverged:
            what = f"{formatting.title(slot.line)} on {slot.dataset}, seed {slot.seed}"
            worst = f"worst residual {solves.residual_max:.2g}"
            lines.append(f"{what}: {solves.share_unconverged:.1%} of {solves.num:,} solves, {worst}")
    return lines


def _latest(found: Sequence[Training]) -> str:
    """When the last training ended, by the clock of its node; the page holds no other time."""
    times = [slot.record.finished for slot in found if slot.record and slot.record.finished is not None]
    if not times:
        return ""
    return datetime.datetime.fromtimestamp(max(times), tz=datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
