"""`lion_ray.tickets` and its command: what a study's store holds, controls included."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import lion_ray
from lion_ray.cli import commands
from lion_ray.store import DamagedArtifactWarning, Store
from lion_ray.study import index
from tests.study.test_damage import spied

KNOWN = "known are s3://, gs://, az://, https://, hf:// and others"


@pytest.fixture
def study(every_method: Mapping[str, Store], tmp_path: Path) -> Path:
    """A copy of a LION study with one control."""
    return Path(shutil.copytree(every_method["lion"].url.removeprefix("file://"), tmp_path / "study"))


def test_every_finished_ticket_is_listed_with_its_figures_and_opens(study: Path) -> None:
    table = lion_ray.tickets(str(study))
    rows = table.to_pylist()
    assert [(row["round"], row["ticket"]) for row in rows] == [(0, "winning"), (1, "winning"), (1, "random_ticket")]
    assert [row["density"] for row in rows] == [1.0, 0.5, 0.5]
    for row in rows:
        folder = Path(row["url"].removeprefix("file://")).parent
        metrics = json.loads((folder / "result.json").read_text())["metrics"]
        assert (row["val_accuracy"], row["test_accuracy"]) == (metrics["val_accuracy"], metrics["test_accuracy"])
        assert row["num_bytes"] == os.path.getsize(folder / "ticket.safetensors")
    assert lion_ray.load_ticket(rows[2]["url"]).classes == tuple("0123456789")


def test_what_is_unfinished_is_no_ticket_and_what_is_damaged_is_said(study: Path) -> None:
    (folder,) = (study / "experiments").iterdir()
    (folder / "round-1-random_ticket" / "DONE").unlink()
    (folder / "round-0" / "result.json").write_text("{}")
    with pytest.warns(DamagedArtifactWarning, match="round-0 counts as absent"):
        rows = lion_ray.tickets(str(study)).to_pylist()
    assert [(row["round"], row["ticket"]) for row in rows] == [(1, "winning")]


def test_what_is_indexed_is_not_read_again(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder,) = (study / "experiments").iterdir()
    whole = lion_ray.tickets(str(study))
    index.renew(Store(str(study)), folder.name)
    read = spied("read", monkeypatch)
    assert lion_ray.tickets(str(study)).equals(whole)
    assert read == [f"index/{folder.name}.json"]
    (folder / "round-1" / "ticket.safetensors").write_bytes(b"another")
    assert lion_ray.tickets(str(study))["num_bytes"].to_pylist()[1] == 7, "the listing is the truth"


def test_method_entries_are_called_what_the_study_calls_them(study: Path) -> None:
    (folder,) = (study / "experiments").iterdir()
    assert set(lion_ray.tickets(str(study))["method"].to_pylist()) == {"lion"}
    pq.write_table(pa.table({"experiment": [folder.name], "method": ["ours"]}), study / "results.parquet")
    assert set(lion_ray.tickets(str(study))["method"].to_pylist()) == {"ours"}


def test_the_command_prints_a_table_or_json_lines(study: Path) -> None:
    printed = CliRunner().invoke(commands.main, ["tickets", str(study)])
    assert printed.exit_code == 0, printed.output
    heads, _, *lines = printed.output.splitlines()
    assert heads.split()[-2:] == ["bytes", "url"]
    cells = [re.split(" {2,}", line) for line in lines]
    assert {tuple(each[:3]) for each in cells} == {
        ("mnist(num_train=48, num_val=24, num_test=24)", "tf_efficientnet_lite0 at 32 px", "lion")
    }
    assert [each[3] for each in cells] == ["winning", "winning", "random_ticket"]
    rows = CliRunner().invoke(commands.main, ["tickets", str(study), "--json"]).output.splitlines()
    assert [json.loads(row) for row in rows] == lion_ray.tickets(str(study)).to_pylist()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("{}/none", "{}/none holds no finished rounds: give a study's URL, <storage>/<study>"),
        (
            "nowhere://x",
            f"no filesystem is called nowhere://, in 'nowhere://x'; {KNOWN}",
        ),
    ],
)
def test_a_wrong_url_is_one_line(tmp_path: Path, url: str, says: str) -> None:
    printed = CliRunner().invoke(commands.main, ["tickets", url.format(tmp_path)])
    assert (printed.exit_code, printed.output) == (2, f"Error: {says.format(tmp_path)}\n")
