"""`lion-ray data list`: the catalogue of datasets as a table, or as JSON lines with all fields of an entry.

`lion_ray.cli.data` adds the command to its group.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lion_ray.data.catalogue import CatalogueEntry

SPLITS = ("train", "val", "test")
HEADER = ("name", "group", "classes", "train", "val", "test", "pixels", "licence")
NUMBERS = range(2, 6)


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="one JSON object per line, with what the table leaves out")
def list_(as_json: bool) -> None:
    """List the datasets that a study can name: counts, how the pixels were published, a note on the licence."""
    from lion_ray.data.catalogue import CATALOGUE

    entries = CATALOGUE.values()
    click.echo(
        "\n".join(json.dumps(_fields(entry), ensure_ascii=False) for entry in entries) if as_json else _text(entries)
    )


def _text(entries: Iterable[CatalogueEntry]) -> str:
    rows = [HEADER, *map(_row, entries)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _row(entry: CatalogueEntry) -> tuple[str, ...]:
    """The cells of one dataset. The sizes of a pool are those of the splits that it is cut into."""
    sizes = _splits(entry)
    counts = (f"{sizes[split]}" if split in sizes else "-" for split in SPLITS)
    return (
        entry.name,
        f"{entry.suite} {entry.group}".strip(),
        f"{entry.num_classes}",
        *counts,
        entry.encoding,
        entry.licence,
    )


def _splits(entry: CatalogueEntry) -> dict[str, int]:
    """The number of images of each split, for a study that sets no other sizes."""
    from lion_ray.data.select.splits import SplitCounts, plan

    if "pool" not in entry.sizes:
        return dict(entry.sizes)
    return {split: part.num for split, part in plan(entry.sizes, SplitCounts(), entry.counts).items()}


def _fields(entry: CatalogueEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "title": entry.title,
        "suite": entry.suite,
        "group": entry.group,
        "num_classes": entry.num_classes,
        "classes": list(entry.classes),
        "sizes": dict(entry.sizes),
        "splits": _splits(entry),
        "encoding": entry.encoding,
        "lossless": entry.is_lossless,
        "licence": entry.licence,
        "homepage": entry.origin.homepage,
        "tfds": entry.origin.tfds,
        "hub": entry.origin.hub,
        "label_rule": entry.label_rule,
        "cut": dict(entry.cut),
        "install": entry.package.install if entry.package else None,
    }
