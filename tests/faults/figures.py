"""The campaign's figures from its records, and the table that the documentation shows.

python -m tests.faults.figures    (from the last result that is kept)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.evidence import spread

WRONG = ("begun_after_done", "done_twice", "different", "remains")


def figures(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all studies; `violations` is what must be empty."""
    kills = [each for record in records for each in record["kills"]]
    disturbed = [record for record in records if record["kills"]]
    return {
        "studies": len(records),
        "kills": len(kills),
        "targets": {name: _target(name, kills) for name in sorted({each["target"] for each in kills})},
        "drivers_that_waited_for_a_dead_cluster": sum(record.get("ended_by_us", 0) for record in records),
        "rounds": sum(record["rounds"] for record in records),
        "rounds_redone": sum(record["begun"] - record["rounds"] for record in records),
        "rounds_resumed_in_the_middle": sum(record["resumed"] for record in records),
        "epochs": sum(record["epochs"] for record in records),
        "epochs_lost": sum(record["epochs_told"] - record["epochs"] for record in records),
        "seconds_lost_per_kill": {
            f"{workers} worker{'s' * (workers > 1)}": spread(
                [_lost(each) for each in disturbed if each["workers"] == workers]
            )
            for workers in sorted({record["workers"] for record in disturbed})
        },
        "violations": {record["url"]: wrong for record in records if (wrong := _wrong(record))},
    }


def _lost(record: Mapping[str, Any]) -> float:
    return float((record["seconds"] - record["undisturbed"]) / len(record["kills"]))


def _wrong(record: Mapping[str, Any]) -> dict[str, Any]:
    hangs = {"hangs": record["hangs"]} if record["hangs"] else {}
    proxies = [each for each in record["kills"] if each["target"] == "proxy" and each["status"] not in (None, 0)]
    ended = {"ended_by_proxy": proxies} if proxies else {}
    return hangs | ended | {name: record[name] for name in WRONG if record[name]}


def _target(name: str, kills: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    own = [each for each in kills if each["target"] == name]
    after = [each["seconds_to_next_epoch"] for each in own if each["seconds_to_next_epoch"] is not None]
    survived = sum(each["status"] in (None, 0) for each in own)
    return {"kills": len(own), "driver_went_on": survived, "seconds_to_next_epoch": spread(after)}


def table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [
        "| killed | times | the driver went on | seconds to the next epoch: median (10 %, 90 %) |",
        "|---|---|---|---|",
    ]
    for name, each in found["targets"].items():
        seconds = each["seconds_to_next_epoch"]
        text = f"{seconds['median']} ({seconds['p10']}, {seconds['p90']})" if seconds["n"] else "-"
        lines.append(f"| {name} | {each['kills']} | {each['driver_went_on']} | {text} |")
    rest = {name: value for name, value in found.items() if name != "targets"}
    return "\n".join([*lines, "", *(f"{name}: {json.dumps(value)}" for name, value in rest.items())])


if __name__ == "__main__":
    print(table(json.loads((Path(__file__).parent / "campaign.json").read_text())))
