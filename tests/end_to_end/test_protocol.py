"""A whole protocol through the main door on a real Ray: search, choices, final runs, and the same command again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lion_ray import pipeline, report
from lion_ray.report import comparison, listing
from lion_ray.store import Store, layout
from tests.end_to_end.test_study import table
from tests.support.small_runs import artifacts

DATASETS = ", ".join(
    f"{{name: {name}, num_train: 32, num_val: 16, num_test: 16}}" for name in ("mnist", "animal_mnist")
)
COMMON = [
    f"datasets=[{DATASETS}]",
    "methods=[{name: lion, input: false}]",
    "protocol={name: vtab1k, search: {train.lr: [0.01, 0.001, 1.0e+30]}}",
    "lottery={rounds: 2, prune: 0.5}",
    "train={epochs: 1, batch_size: 16, optimizer: sgd}",
]


def run(study_file: Path, *overrides: str) -> int:
    return pipeline.main([str(study_file), *(part for each in [*COMMON, *overrides] for part in ("--set", each))])


@pytest.mark.usefixtures("embedded_ray")
def test_a_study_searches_chooses_and_reports_final_runs_and_a_second_run_finds_all_done(
    study_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(study_file, "seeds=[42, 44]") == 0
    printed = capsys.readouterr().out
    assert "2 final runs once its setting is chosen" in printed
    assert "cannot be chosen: " in printed  # the rate of 1e30
    assert "FAILED" not in printed
    assert "AWAITED" not in printed
    assert "val acc" in printed

    rows = table(tmp_path / "results", "tiny")
    search, final = ([row for row in rows if row["stage"] == stage] for stage in ("search", "final"))
    assert len(search) + len(final) == len(rows)
    assert len(final) == 2 * 2 * 2
    assert all(row["test_accuracy"] is None and row["val_accuracy"] is not None for row in search)
    assert all(row["test_accuracy"] is not None and row["val_accuracy"] is None for row in final)
    for row in final:
        rate = json.loads(str(row["config"]))["train"]["lr"]
        rivals = [
            (-float(str(other["val_accuracy"])), json.loads(str(other["config"]))["train"]["lr"])
            for other in search
            if other["dataset"] == row["dataset"] and other["round"] == 1
        ]
        assert rate == min(rivals)[1]
    tables = printed[printed.index("\nmnist(num_train") :]
    assert tables.count("winning") == len(final)

    rates = re.findall(r"^\w*mnist\(.* +train\.lr=(\S+) +0\.\d{3} \(round 1\) +3 +2$", printed, re.MULTILINE)
    assert len(rates) == 2

    url = f"{tmp_path}/results/tiny"
    page = (Store(url).read("report/report.html") or b"").decode()
    section = page[page.index('<h2 id="settings">') : page.index('<h2 id="plots">')]
    assert all(f"<td>train.lr={rate}</td>" in section for rate in rates)
    assert {line.split()[0] for line in listing.text(report.tickets(url)).splitlines()[2:]} == {"search", "final"}
    assert len(comparison.read_rows(url)) == len(final)
    assert {row["stage"] for row in report.tickets(url).to_pylist()} == {"search", "final"}
    assert [path for path in Store(url).paths() if not layout.is_known(path)] == []
    before = artifacts(Store(url))
    assert run(study_file, "seeds=[42, 44]") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(study_file, "seeds=[42, 44, 82]") == 0
    after = artifacts(Store(url))
    assert {key: after[key] for key in before} == before
    assert len(table(tmp_path / "results", "tiny")) == len(rows) + 2 * 2


@pytest.mark.slow
@pytest.mark.usefixtures("embedded_ray")
def test_two_workers_search_and_train_final_runs_too(study_file: Path, tmp_path: Path) -> None:
    assert (
        run(
            study_file,
            "resources.workers=2",
            f"datasets=[{DATASETS.split('}, ')[0]}}}]",
            "methods=[linear]",
            "seeds=[42]",
        )
        == 0
    )
    rows = table(tmp_path / "results", "tiny")
    assert [row["stage"] for row in rows].count("final") == 1
