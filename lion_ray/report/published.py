"""Published VTAB-1k results (ViT-B/16, ImageNet-21k) with the conditions under which each was measured.

`vtab1k_published.csv` holds them with their sources. The conditions (JPEG images, the choice of the best test epoch,
normalisation) change results by several points, so a condition that a source leaves out reads `not stated`.
`lion_ray.report.page` shows the results.
"""

from __future__ import annotations

import csv
import dataclasses
from importlib.resources import files

GROUPS = ("natural", "specialized", "structured")
NOT_STATED = "not stated"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedResult:
    """One published result.

    Accuracies are texts in points as printed, empty if not given; `groups` follow `GROUPS`. `params_millions` counts
    the trained parameters without the classifier. The other fields hold the conditions, and the `source`.
    """

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


def published() -> list[PublishedResult]:
    """All published results in the order of the file."""
    text = files(__package__).joinpath("vtab1k_published.csv").read_text(encoding="utf-8")
    return [_row(fields) for fields in csv.DictReader(text.splitlines())]


def _row(fields: dict[str, str]) -> PublishedResult:
    conditions = [part.strip() for part in fields["conditions"].split(";") if part.strip()]
    kinds = {"encoding": "JPEG", "epoch_rule": "epoch", "normalisation": "normalisation"}
    stated = {kind: [part for part in conditions if word in part] for kind, word in kinds.items()}
    others = [part for part in conditions if not any(part in parts for parts in stated.values())]
    return PublishedResult(
        method=fields["method"],
        groups=tuple(fields[group] for group in GROUPS),
        group_mean=fields["group_mean"],
        task_mean=fields["task_mean"],
        params_millions=fields["params_millions"],
        encoding="; ".join(stated["encoding"]) or NOT_STATED,
        epoch_rule="; ".join(stated["epoch_rule"]) or NOT_STATED,
        normalisation="; ".join(stated["normalisation"]) or NOT_STATED,
        remarks="; ".join(others),
        source=fields["source"],
    )
