"""The 19 tasks of VTAB-1k: 800 training and 200 val images and the whole test split, cut by position from TFDS.

`vtab1k_tasks.csv` holds what the benchmark defines. `vtab1k_sources.csv` holds TFDS names, sizes of TFDS splits, rules,
encodings and licences. The names are the folder names of the common VTAB-1k tree.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from importlib.resources import files

from lion_ray.data.catalogue.entry import CatalogueEntry, DatasetOrigin

TRAIN, VAL = 800, 200
SPLITS = ("train", "validation", "test")
CLASSES = {
    "svhn": tuple("0123456789"),
    "clevr_count": tuple(str(number) for number in range(3, 11)),
}
"""Class names of tasks whose records only hold numbers; the sources of the other tasks hold theirs."""


def _entry(task: Mapping[str, str], source: Mapping[str, str]) -> CatalogueEntry:
    sizes = {split: int(source[split]) for split in SPLITS if source[split] != "0"}
    version = task["tfds_version"].rpartition(":")[2]
    return CatalogueEntry(
        name=task["name"],
        title=source["title"],
        suite="vtab1k",
        group=task["group"],
        num_classes=int(task["num_classes"]),
        classes=CLASSES.get(task["name"], ()),
        sizes={"train": TRAIN, "val": VAL, "test": int(task["num_test"])},
        encoding=source["encoding"],
        licence=source["licence"],
        origin=DatasetOrigin(homepage=source["homepage"], tfds=f"{source['tfds']}:{version}"),
        label_rule=source["label_rule"],
        image_rule=source["image_rule"],
        cut={"train": f"train[:{TRAIN}]", "val": _val(task["val200_from"], sizes), "test": source["test_slice"]},
        tfds_sizes=sizes,
    )


def _val(where: str, sizes: Mapping[str, int]) -> str:
    """The first 200 of the table's slice: `train[90%:]` of 50000 is `train[45000:45200]`."""
    split, _, rest = where.partition("[")
    first = rest.partition(":")[0] or "0"
    start = sizes[split] * int(first[:-1]) // 100 if first.endswith("%") else int(first)
    return f"{split}[{start}:{start + VAL}]"


def _table(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(files(__package__).joinpath(name).read_text(encoding="utf-8").splitlines()))


_SOURCES = {row["name"]: row for row in _table("vtab1k_sources.csv")}
VTAB = tuple(_entry(row, _SOURCES[row["name"]]) for row in _table("vtab1k_tasks.csv"))
