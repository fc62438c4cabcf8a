"""A study's tickets as a table: what `lion_ray.tickets` returns and `lion-ray tickets` prints.

The store is the truth: what carries a `DONE` is listed, whatever the study file asks for now, but for rounds of another
revision of their method, which are counted. What the index holds is not read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pyarrow as pa

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_label
from lion_ray.lottery import WINNING
from lion_ray.report.formatting import aligned
from lion_ray.report.tables import ACCURACIES, SCHEMA, SIZES, accuracy_text, measured, read_table
from lion_ray.store import Store, map_in_threads
from lion_ray.store.layout import DONE, RESULT, RESULTS, TICKET
from lion_ray.study.index import indexed
from lion_ray.study.record import RoundRecord
from lion_ray.study.rounds import of_today, record_of

METRICS = (*SIZES, "without_path", *ACCURACIES)
SOLVES = ("share_unconverged", "residual_max")
COLUMNS = ("experiment", "dataset", "backbone", "method", "stage", "seed", "round", "ticket", *METRICS, *SOLVES)
OWN = [("dataset_label", pa.string()), ("image_size", pa.int64()), ("num_bytes", pa.int64()), ("url", pa.string())]
TICKETS_SCHEMA = pa.schema([*(SCHEMA.field(name) for name in COLUMNS), *OWN])


def tickets(study_url: str) -> pa.Table:
    """All tickets of a study, one row each, controls included; `url` is what `load_ticket` takes.

    Columns are those of the same names in `results.parquet`, `dataset_label` with what was asked of the set, the
    `image_size` that was asked for, and `num_bytes` of the file. Sorted by dataset, method, seed and round, a round's
    winning ticket before its controls.

    Raises:
        FileNotFoundError: no finished round is there; `study_url` is `<storage>/<study>`.
        OSError, ValueError, ImportError: the URL cannot be read, or not with what is installed.
    """
    store = Store(study_url)
    try:
        files = store.listing()
    except FileNotFoundError:  # an object store without the bucket
        files = {}
    keys = [path.removesuffix(f"/{TICKET}") for path in files if path.endswith(f"/{TICKET}")]
    finished = [key for key in keys if f"{key}/{DONE}" in files]
    if not finished:
        raise FileNotFoundError(f"{study_url} holds no finished rounds: give a study's URL, <storage>/<study>")
    labels = _labels(store) if RESULTS in files else {}
    known = indexed(store, files)
    unknown = [key for key in finished if key not in known]
    read = zip(unknown, map_in_threads(partial(_record, store), unknown), strict=True)
    known |= {key: record for key, record in read if record is not None}  # the store has warned of the others
    rows = [
        _row(known[key], labels, files[f"{key}/{TICKET}"].size, f"{store.url}/{key}/{TICKET}")
        for key in of_today(filter(known.__contains__, finished), study_url, config_of=lambda key: known[key].config)
    ]
    return pa.Table.from_pylist(sorted(rows, key=_order), schema=TICKETS_SCHEMA)


def text(table: pa.Table) -> str:
    """The table for people: accuracies, sizes and, last, the URL."""
    texts, figures = ("dataset", "backbone", "method", "ticket"), ("density", "params", "val acc", "test acc", "bytes")
    heads = (*texts, "seed", "round", *figures, "url")
    found = table.to_pylist()
    cells = [_cells(row) for row in found]
    if not any(row["stage"] for row in found):
        return "\n".join(aligned(heads, cells, left=(0, 1, 2, 3, 11)))
    staged = [(row["stage"] or "", *line) for row, line in zip(found, cells, strict=True)]
    return "\n".join(aligned(("stage", *heads), staged, left=(0, 1, 2, 3, 4, 12)))


def _record(store: Store, key: str) -> RoundRecord | None:
    """None if it is damaged."""
    found = store.load(key, [RESULT])
    return record_of(store, key, found[RESULT]) if found else None


def _labels(store: Store) -> dict[str, str]:
    """What the study file calls each experiment's method entry, where its last run has said so."""
    payload = store.read(RESULTS) or b""
    rows: Iterable[dict[str, str]] = read_table(payload, f"{store.url}/{RESULTS}", columns=["experiment", "method"])
    return {row["experiment"]: row["method"] for row in rows}


def _row(record: RoundRecord, labels: dict[str, str], num_bytes: int, url: str) -> dict[str, Any]:
    return {
        "experiment": record.experiment,
        "dataset": record.dataset,
        "backbone": record.backbone,
        "seed": record.seed,
        "round": record.round,
        "ticket": record.ticket,
        "method": labels.get(record.experiment, record.method),
        "stage": record.config.get("stage", {}).get("name"),
        **measured(record.metrics),
        **{name: getattr(record.metrics.solves, name) for name in SOLVES},
        "dataset_label": dataset_label(DatasetConfig(**record.config["dataset"])),
        "image_size": record.config["backbone"].get("image_size"),
        "num_bytes": num_bytes,
        "url": url,
    }


def _order(row: dict[str, Any]) -> tuple[Any, ...]:
    names = ("dataset", "method", "seed", "experiment", "round")
    return *(row[name] for name in names), row["ticket"] != WINNING, row["ticket"]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["dataset_label"],
        row["backbone"] + (f" at {row['image_size']} px" if row["image_size"] else ""),
        row["method"],
        row["ticket"],
        str(row["seed"]),
        str(row["round"]),
        f"{row['density']:.3f}",
        f"{row['num_acting_params']:,}",
        accuracy_text(row["val_accuracy"]),
        accuracy_text(row["test_accuracy"]),
        f"{row['num_bytes']:,}",
        row["url"],
    )
