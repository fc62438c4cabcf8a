"""Finished rounds as rows: `results.parquet` for programs, one plain table per dataset for people."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lion_ray.config import Study
from lion_ray.experiments import dataset_labels, entry_label
from lion_ray.experiments.protocol import GROUPS
from lion_ray.lottery import WINNING, RoundMetrics, cut_off
from lion_ray.report import page, settings, trainings
from lion_ray.report.formatting import aligned
from lion_ray.store import Store
from lion_ray.study.plan import Plan, PlannedExperiment, final_runs_awaiting_choice, stopped
from lion_ray.study.record import RoundRecord

PARQUET, FOLDER = "results.parquet", "report"
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
        ("num_acting_params", pa.int64()),  # those of them on a path from the input to the output
        ("num_acting_params_without_classifier", pa.int64()),
        ("without_path", pa.string()),  # which of LION's prompts have none: input, output or both
        ("val_accuracy", pa.float64()),
        ("test_accuracy", pa.float64()),  # of a search none
        *((f"test_accuracy_{group}", pa.float64()) for group in GROUPS),  # of a long tail's classes
        ("val_accuracy_without_prompts", pa.float64()),  # LION's, both switched off; of other methods none
        ("test_accuracy_without_prompts", pa.float64()),
        ("train_loss", pa.float64()),
        ("share_unconverged", pa.float64()),  # of the equilibrium solves, and the worst residual among all
        ("residual_max", pa.float64()),
        ("stopped_by", pa.string()),  # who ended the experiment before its last round: a scheduler, budget, or nobody
        ("seconds", pa.float64()),
        ("history", pa.string()),  # JSON: one record per epoch
        ("config", pa.string()),  # JSON: the full configuration, defaults included
    ]
)


def rows(plan: Plan, study: Study) -> list[dict[str, Any]]:
    """One row per experiment, round and control, columns as in `SCHEMA`."""
    return [_row(record, item, study) for item in plan.items for record in (*item.rounds, *item.controls)]


def read_table(payload: bytes, source: str, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a Parquet file's bytes, of all its columns or of some, each a cell's value.

    Raises:
        ValueError: it is damaged, or no table of results; `source` says where it lies.

    A file read without `pre_buffer` starts no thread of pyarrow's. Those of `pq.read_table`, whatever `use_threads`
    says, abort one in ten short processes at their end on a busy machine (pyarrow 26 beside torch).
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
        found: list[dict[str, Any]] = table.to_pylist()
    except Exception as damage:  # pyarrow raises kinds of its own, and Python's
        reason = " ".join(str(damage).split())[:200]
        raise ValueError(f"{source} is damaged ({reason}): {AGAIN}") from damage
    return found


def write(plan: Plan, study: Study, store: Store, failures: Mapping[str, str]) -> str:
    """Write `results.parquet` and the report's page and tables; returns the text that ends a run."""
    buffer, table = io.BytesIO(), rows(plan, study)
    pq.write_table(pa.Table.from_pylist(table, schema=SCHEMA), buffer, write_page_checksum=True)
    store.write(PARQUET, buffer.getvalue())
    ended = [f"STOPPED {i.experiment.label}: {stopped(i.stop)}" for i in plan.items if i.stop and i.is_finished]
    failed = [f"FAILED {name}: {reason}" for name, reason in sorted(failures.items())]
    missing = [f"UNFINISHED {each.name}" for each in plan.pending if each.name not in failures]
    missing += [
        f"AWAITED {num} final runs of {entry}: no setting is chosen"
        for entry, num in final_runs_awaiting_choice(plan).items()
    ]
    tables = [text_tables(plan, study, table), *([settings.text(plan)] if plan.chosen else [])]
    lines = [*tables, *ended, *failed, *missing, *without_path(plan), *unconverged(plan)]
    pages = page.write([trainings.view(plan, study, store, failures)], f"{store.url}/{FOLDER}")
    return "\n".join([*lines, f"report: {pages}", f"results: {store.url}/{PARQUET}"])


def without_path(plan: Plan) -> list[str]:
    """A line for every round with a prompt that pruning has cut off: it adds the same to every image."""
    return [
        f"CUT OFF {round_label(item, record)}: {cut_off(prompts)}"
        for item in plan.items
        for record in (*item.rounds, *item.controls)
        if (prompts := record.metrics.without_path)
    ]


def round_label(item: PlannedExperiment, record: RoundRecord) -> str:
    """A round for people."""
    ticket = f" {record.ticket}" if record.ticket != WINNING else ""
    return f"{item.experiment.label} round {record.round}{ticket}"


def unconverged(plan: Plan) -> list[str]:
    """A line for every round whose figures are not those of equilibria; accuracy does not show it."""
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


def text_tables(plan: Plan, study: Study, table: Sequence[Mapping[str, Any]]) -> str:
    """The `rows` of a plan, a table per dataset entry in the order of the study: one name at two sizes makes two."""
    parts = []
    for dataset, label in dataset_labels(study.datasets).items():
        items = [item for item in plan.items if not item.experiment.is_search]
        names = {item.experiment.name for item in items if item.experiment.dataset == dataset}
        parts.append(_text_table(label, [row for row in table if row["experiment"] in names]))
    return "\n".join(parts)


def _text_table(dataset: str, table: Sequence[Mapping[str, Any]]) -> str:
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


def _without_prompts(row: Mapping[str, Any]) -> float | None:
    """Test accuracy with LION's prompts switched off, or val's where there is no test figure."""
    names = ("test_accuracy", "val_accuracy")
    found: float | None = next((row[f"{name}_without_prompts"] for name in names if row[name] is not None), None)
    return found


def accuracy_text(value: float | None) -> str:
    """Three decimals, or a dash where the stage has none."""
    return "-" if value is None else f"{value:.3f}"


def measured(metrics: RoundMetrics) -> dict[str, Any]:
    """What a round's row says of its size, of prompts that are cut off, and of its accuracy."""
    found = {name: getattr(metrics, name) for name in (*SIZES, *ACCURACIES)}
    return {**found, "without_path": ", ".join(metrics.without_path)}


def _row(record: RoundRecord, item: PlannedExperiment, study: Study) -> dict[str, Any]:
    experiment, metrics = item.experiment, record.metrics
    lottery = experiment.lottery.model_dump(mode="json")
    return {
        "study": study.study,
        "method": entry_label(experiment.method),
        "experiment": record.experiment,
        "dataset": record.dataset,
        "backbone": record.backbone,
        "seed": record.seed,
        "round": record.round,
        "ticket": record.ticket,
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
