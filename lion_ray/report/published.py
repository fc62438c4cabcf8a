"""Published VTAB-1k figures (ViT-B/16, ImageNet-21k) with the conditions that each was found under.

`vtab1k_published.csv` holds them with their sources. Conditions differ by several points (JPEG trees, best test epoch,
normalisation), so what is not stated is said to be so.
"""

from __future__ import annotations

import csv
import dataclasses
from importlib.resources import files

GROUPS = ("natural", "specialized", "structured")
NOT_STATED = "not stated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """One row: points as printed (empty: not given), parameters in millions without the classifier, conditions."""

    method: str
    groups: tuple[str, ...]
    group_mean: str
    task_mean: str
    params_millions: str
    encoding: str
    epoch_rule: str
    normalisation: str
    remarks: str
    source: str


def published() -> list[Published]:
    """All rows, in their order."""
    text = files(__package__).joinpath("vtab1k_published.csv").read_text(encoding="utf-8")
    return [_row(fields) for fields in csv.DictReader(text.splitlines())]


def _row(fields: dict[str, str]) -> Published:
    conditions = [part.strip() for part in fields["conditions"].split(";") if part.strip()]
    kinds = {"encoding": "JPEG", "epoch_rule": "epoch", "normalisation": "normalisation"}
    told = {kind: [part for part in conditions if word in part] for kind, word in kinds.items()}
    others = [part for part in conditions if not any(part in parts for parts in told.values())]
    return Published(
        method=fields["method"],
        groups=tuple(fields[group] for group in GROUPS),
        group_mean=fields["group_mean"],
        task_mean=fields["task_mean"],
        params_millions=fields["params_millions"],
        encoding="; ".join(told["encoding"]) or NOT_STATED,
        epoch_rule="; ".join(told["epoch_rule"]) or NOT_STATED,
        normalisation="; ".join(told["normalisation"]) or NOT_STATED,
        remarks="; ".join(others),
        source=fields["source"],
    )
