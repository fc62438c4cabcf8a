"""A study's tickets as a table, which `lion_ray.tickets` returns and `lion-ray tickets` prints.

Every ticket with a `DONE` marker is listed, even if today's study file does not ask for it. Only the rounds of another
revision of their method are left out, and a warning counts them. Rounds in the index are not read again.
"""

from __future__ import annotations

from functools import partial

import pyarrow as pa

from lion_ray.config import DatasetConfig
from lion_ray.experiments import dataset_label
from lion_ray.lottery import WINNING
from lion_ray.report.formatting import accuracy_text, aligned
from lion_ray.report.tables import ACCURACIES, SCHEMA, SIZES, TableRow, identified, measured, read_table
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
    """All tickets of a study as a pyarrow table with one row each, controls included.

    The columns have the names and meanings of those in `results.parquet`. Further columns are `dataset_label`, which
    adds the options of the dataset entry, the `image_size` in pixels that the study asks for, the file's `num_bytes`,
    and the `url` for `load_ticket`. Rows are sorted by dataset, method, seed and round, with a round's winning ticket
    before its controls.

    Args:
        study_url: the study's folder, `<storage>/<study>`.

    Raises:
        FileNotFoundError: the folder holds no finished round.
        OSError, ValueError: the URL cannot be read.
        ImportError: a package that the URL's protocol needs is not installed.
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
    """The table for the terminal: datasets and methods, sizes, accuracies and, in the last column, the URL."""
    texts, figures = ("dataset", "backbone", "method", "ticket"), ("density", "params", "val acc", "test acc", "bytes")
    heads = (*texts, "seed", "round", *figures, "url")
    rows = table.to_pylist()
    cells = [_cells(row) for row in rows]
    if not any(row["stage"] for row in rows):
        return "\n".join(aligned(heads, cells, left=(0, 1, 2, 3, 11)))
    staged = [(row["stage"] or "", *line) for row, line in zip(rows, cells, strict=True)]
    return "\n".join(aligned(("stage", *heads), staged, left=(0, 1, 2, 3, 4, 12)))


def _record(store: Store, key: str) -> RoundRecord | None:
    """The record of a round; None, with a warning, if it is damaged."""
    payloads = store.load(key, [RESULT])
    return record_of(store, key, payloads[RESULT]) if payloads else None


def _labels(store: Store) -> dict[str, str]:
    """The label of each experiment's method entry in `results.parquet`, by the experiment's name."""
    payload = store.read(RESULTS) or b""
    rows = read_table(payload, f"{store.url}/{RESULTS}", columns=["experiment", "method"])
    return {row["experiment"]: row["method"] for row in rows}


def _row(record: RoundRecord, labels: dict[str, str], num_bytes: int, url: str) -> TableRow:
    return {
        **identified(record),
        "method": labels.get(record.experiment, record.method),
        "stage": record.config.get("stage", {}).get("name"),
        **measured(record.metrics),
        **{name: getattr(record.metrics.solves, name) for name in SOLVES},
        "dataset_label": dataset_label(DatasetConfig(**record.config["dataset"])),
        "image_size": record.config["backbone"].get("image_size"),
        "num_bytes": num_bytes,
        "url": url,
    }


def _order(row: TableRow) -> tuple[object, ...]:
    names = ("dataset", "method", "seed", "experiment", "round")
    return *(row[name] for name in names), row["ticket"] != WINNING, row["ticket"]


def _cells(row: TableRow) -> tuple[str, ...]:
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
