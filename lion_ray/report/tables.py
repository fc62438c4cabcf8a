"""Finished rounds as rows: `results.parquet` for programs, and one plain table per dataset for the terminal.

`lion_ray.sweep.driver` calls `write` at the end of a run. `lion_ray.report.comparison` and `listing` read the file.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from lion_ray.config import Study
from lion_ray.experiments import dataset_labels, entry_label
from lion_ray.experiments.protocol import GROUPS
from lion_ray.lottery import RoundMetrics
from lion_ray.report import page, settings, trainings
from lion_ray.report.formatting import accuracy_text, aligned, unconverged, without_path
from lion_ray.store import Store
from lion_ray.store.layout import REPORT, RESULTS
from lion_ray.study.plan import Plan, PlannedExperiment, final_runs_awaiting_choice, stopped
from lion_ray.study.record import RoundRecord

TableRow: TypeAlias = dict[str, Any]
"""A row as pyarrow takes and returns it: the value of each cell by its column in `SCHEMA`."""
AGAIN = "run the study again, it trains nothing twice"
MOST_ROWS = 5_000_000
NEEDED = ("experiment", "dataset", "method", "seed", "round", "ticket", "density", "config", "test_accuracy")
ACTING = ("num_acting_params", "num_acting_params_without_classifier")
SIZES = ("density", "num_params", "num_params_without_classifier", *ACTING)
ACCURACIES = ("val_accuracy", "test_accuracy", "val_accuracy_without_prompts", "test_accuracy_without_prompts")
SCHEMA = pa.schema(
    [
        ("study", pa.string()),
        ("experiment", pa.string()),
        ("dataset", pa.string()),
        ("backbone", pa.string()),
        ("method", pa.string()),
        ("stage", pa.string()),  # of a protocol: search, final
        ("seed", pa.int64()),
        ("round", pa.int64()),
        ("ticket", pa.string()),  # winning, or the control beside it: random_ticket, reinit
        ("density", pa.float64()),
        ("num_params", pa.int64()),
        ("num_params_without_classifier", pa.int64()),
        ("num_acting_params", pa.int64()),  # the parameters on a path from the input to the output
        ("num_acting_params_without_classifier", pa.int64()),
        ("without_path", pa.string()),  # LION's prompts without such a path: input, output or both
        ("val_accuracy", pa.float64()),
        ("test_accuracy", pa.float64()),  # null for search trials
        *((f"test_accuracy_{group}", pa.float64()) for group in GROUPS),  # of a long tail's classes
        ("val_accuracy_without_prompts", pa.float64()),  # with LION's prompts switched off; null for other methods
        ("test_accuracy_without_prompts", pa.float64()),
        ("train_loss", pa.float64()),
        ("share_unconverged", pa.float64()),  # of the equilibrium solves, and the worst residual of all
        ("residual_max", pa.float64()),
        ("stopped_by", pa.string()),  # the scheduler or budget that ended the experiment before its last round
        ("seconds", pa.float64()),
        ("history", pa.string()),  # JSON: one record per epoch
        ("config", pa.string()),  # JSON: the full configuration, defaults included
    ]
)


def rows(plan: Plan, study: Study) -> list[TableRow]:
    """One row per finished round and control of the plan's experiments, with the columns of `SCHEMA`."""
    return [_row(record, item, study) for item in plan.items for record in (*item.rounds, *item.controls)]


def read_table(payload: bytes, source: str, columns: Sequence[str] | None = None) -> list[TableRow]:
    """The rows of a `results.parquet`.

    Args:
        payload: the bytes of the file.
        source: the file's URL, for the error.
        columns: the columns to read; None reads all and requires those of `NEEDED`.

    Raises:
        ValueError: the file is damaged, or is no table of results.

    `pre_buffer` is off because pyarrow then starts no thread. The threads of `pq.read_table`, with any `use_threads`,
    abort one in ten short processes at their end on a busy machine (pyarrow 26 beside torch).
    """
    try:
        with pq.ParquetFile(io.BytesIO(payload), pre_buffer=False, page_checksum_verification=True) as file:
            if file.metadata.num_rows > MOST_ROWS:
                raise ValueError(f"{file.metadata.num_rows:,} rows")
            table = file.read(columns=None if columns is None else list(columns), use_threads=False)
        for name in NEEDED if columns is None else columns:
            if table.schema.field(name).type != SCHEMA.field(name).type or (
                table[name].null_count and name != "test_accuracy"
            ):
                raise ValueError(f"its column {name} is another")
        listed: list[TableRow] = table.to_pylist()
    except Exception as damage:  # pyarrow raises its own error classes and Python's
        reason = " ".join(str(damage).split())[:200]
        raise ValueError(f"{source} is damaged ({reason}): {AGAIN}") from damage
    return listed


def write(plan: Plan, study: Study, store: Store, failures: Mapping[str, str]) -> str:
    """Write `results.parquet` and the report, and return the text that a run prints at its end.

    Args:
        plan: the study compared with its store.
        study: the study file.
        store: the study's store.
        failures: the reason of each failure by the experiment's name.
    """
    buffer, table = io.BytesIO(), rows(plan, study)
    pq.write_table(pa.Table.from_pylist(table, schema=SCHEMA), buffer, write_page_checksum=True)
    store.write(RESULTS, buffer.getvalue())
    ended = [f"STOPPED {i.experiment.label}: {stopped(i.stop)}" for i in plan.items if i.stop and i.is_finished]
    failed = [f"FAILED {name}: {reason}" for name, reason in sorted(failures.items())]
    missing = [f"UNFINISHED {pending.name}" for pending in plan.pending if pending.name not in failures]
    missing += [
        f"AWAITED {num} final runs of {entry}: no setting is chosen"
        for entry, num in final_runs_awaiting_choice(plan).items()
    ]
    tables = [text_tables(plan, study, table), *([settings.text(plan)] if plan.chosen else [])]
    lines = [*tables, *ended, *failed, *missing, *without_path(plan), *unconverged(plan)]
    pages = page.write([trainings.view(plan, study, store, failures)], f"{store.url}/{REPORT}")
    return "\n".join([*lines, f"report: {pages}", f"results: {store.url}/{RESULTS}"])


def text_tables(plan: Plan, study: Study, table: Sequence[TableRow]) -> str:
    """The tables of the terminal, one per dataset entry in the order of the study; search trials are left out.

    Args:
        plan: the study compared with its store.
        study: the study file.
        table: the `rows` of the plan.
    """
    parts = []
    for dataset, label in dataset_labels(study.datasets).items():
        items = [item for item in plan.items if not item.experiment.is_search]
        names = {item.experiment.name for item in items if item.experiment.dataset == dataset}
        parts.append(_text_table(label, [row for row in table if row["experiment"] in names]))
    return "\n".join(parts)


def _text_table(dataset: str, table: Sequence[TableRow]) -> str:
    heads = ["method", "ticket", "seed", "round", "density", "params", "w/o classifier", "val acc", "test acc"]
    has_prompts = any(_without_prompts(row) is not None for row in table)
    body = [
        (
            row["method"],
            row["ticket"],
            str(row["seed"]),
            str(row["round"]),
            f"{row['density']:.3f}",
            f"{row['num_acting_params']:,}",
            f"{row['num_acting_params_without_classifier']:,}",
            accuracy_text(row["val_accuracy"]),
            accuracy_text(row["test_accuracy"]),
            *([accuracy_text(_without_prompts(row))] if has_prompts else []),
        )
        for row in table
    ]
    heads += ["prompts off"] if has_prompts else []
    return "\n".join([f"\n{dataset}", *aligned(heads, body, left=(0, 1))])


def _without_prompts(row: TableRow) -> float | None:
    """The test accuracy with LION's prompts switched off, or the validation accuracy if there is no test accuracy."""
    names = ("test_accuracy", "val_accuracy")
    return next((row[f"{name}_without_prompts"] for name in names if row[name] is not None), None)


def measured(metrics: RoundMetrics) -> TableRow:
    """The cells of a round's sizes and accuracies, and of the prompts that are cut off."""
    cells = {name: getattr(metrics, name) for name in (*SIZES, *ACCURACIES)}
    return {**cells, "without_path": ", ".join(metrics.without_path)}


def identified(record: RoundRecord) -> TableRow:
    """What a round's row says of which round it is."""
    return {name: getattr(record, name) for name in ("experiment", "dataset", "backbone", "seed", "round", "ticket")}


def _row(record: RoundRecord, item: PlannedExperiment, study: Study) -> TableRow:
    experiment, metrics = item.experiment, record.metrics
    lottery = experiment.lottery.model_dump(mode="json")
    return {
        "study": study.study,
        "method": entry_label(experiment.method),
        **identified(record),
        "stage": experiment.stage.name if experiment.stage else None,
        **measured(metrics),
        **{f"test_accuracy_{group}": metrics.test_accuracy_by_count.get(group) for group in GROUPS},
        "train_loss": metrics.history[-1].loss,
        "share_unconverged": metrics.solves.share_unconverged,
        "residual_max": metrics.solves.residual_max,
        "stopped_by": item.stop.by if item.stop else None,
        "seconds": record.seconds,
        "history": json.dumps([epoch._asdict() for epoch in metrics.history], sort_keys=True),
        "config": json.dumps({**record.config, "lottery": lottery}, sort_keys=True),
    }
