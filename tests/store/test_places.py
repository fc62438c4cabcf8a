"""Places as people spell them: expanded, or refused where they only look like URLs; one place has one identity."""

from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner

from lion_ray import config, pipeline
from lion_ray.cli.commands import main
from lion_ray.data.readers.listing import listing
from lion_ray.store import Store, canonical, find_files, identity
from lion_ray.store.places import with_account
from tests.support.small_sets import png


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("${NOWHERE}/results", "the variable NOWHERE in '${NOWHERE}/results' is not set"),
        ("s3:/bucket/x", "'s3:/bucket/x' is no URL: write s3://bucket/x"),
        ("s3:bucket/x", "is no URL: write s3://bucket/x"),
        ("C:\\results", "is a path of Windows"),
        ("\\\\server\\share", "is a path of Windows"),
        ("~nobody-here/x", "there is no home folder of ~nobody-here"),
        ("s4://bucket/x", "no filesystem is called s4://"),
        ("htps://host/x", "did you mean https://?"),
    ],
)
def test_what_looks_like_a_url_and_is_none_makes_no_folder_of_that_name(
    place: str,
    told: str,
    study_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(os.listdir())
    assert pipeline.main([str(study_file), "--set", f"storage='{place}'", "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    for command in (["tickets", place], ["data", "verify", place], ["report", place, "--to", str(tmp_path / "r")]):
        printed = CliRunner().invoke(main, command)
        assert (printed.exit_code, printed.stderr.count("\n"), told in printed.stderr) == (2, 1, True), printed.stderr
    assert sorted(os.listdir()) == before


def test_home_and_variables_are_expanded_wherever_a_place_is_named(
    study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("BUCKET", "bucket")
    monkeypatch.setenv("HOME", str(tmp_path))
    named = ["storage=s3://${BUCKET}/x", "data.root=${SCRATCH}/sets", "backbone.weights=$SCRATCH/w.pth"]
    study = config.load(study_file, named)
    assert (study.storage, study.data.root) == ("s3://bucket/x", f"{tmp_path}/sets")
    assert study.backbone.weights == f"{tmp_path}/w.pth"
    assert canonical("~/a") == canonical("$SCRATCH/a") == f"{tmp_path}/a"


def test_what_exists_by_its_very_name_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("s3:x", "$HOME", "~nobody", "a::b", "C:\\x"):
        (tmp_path / name).write_bytes(b"x")
        assert canonical(name) == str(tmp_path / name)
        assert find_files(name) == [f"file://{tmp_path}/{name}"]
    assert len(find_files(str(tmp_path))) == 5


def test_a_root_with_a_variable_that_is_not_set_is_one_line() -> None:
    printed = CliRunner().invoke(main, ["data", "verify", "cifar10", "--root", "${NOWHERE}"])
    assert printed.exit_code == 2
    assert "the variable NOWHERE in '${NOWHERE}/cifar10' is not set" in printed.stderr
    assert printed.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{0}/a", "file://{0}/a"),
        ("{0}/a", "FILE://{0}//./a/"),
        ("{0}/a", "local://{0}/x/../a"),
        ("{0}/a", "{0}/link"),
        ("{0}/a", "file:{0}/a"),
        ("S3://bucket/a", "s3a://bucket/a/"),
        ("gs://bucket/a", "GCS://bucket/a"),
        ("az://box/a", "abfss://box@account.dfs.core.windows.net/a"),
        ("abfs://box@account.dfs.core.windows.net/a", "adl://box@account.blob.core.windows.net/a"),
    ],
)
def test_one_place_in_two_spellings_is_one_place(one: str, other: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("a")
    assert identity(one.format(tmp_path)) == identity(other.format(tmp_path))


def test_an_azure_account_stays_in_what_a_listing_names() -> None:
    place = "abfs://box@account.dfs.core.windows.net/sets"
    found = with_account("box/sets/a.png", place, "abfs://box/sets/a.png")
    assert found == "abfs://box@account.dfs.core.windows.net/sets/a.png"
    assert with_account("box/a.png", "az://box", "abfs://box/a.png") == "abfs://box/a.png"


def test_folder_markers_of_consoles_are_no_files(s3_url: str, tmp_path: Path) -> None:
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            filesystem.pipe_file(f"{s3_url}/set/{split}/{name}/", b"")
            filesystem.pipe_file(f"{s3_url}/set/{split}/{name}_$folder$", b"")
            for number in range(2):
                red = 100 * (split == "test") + 10 * (name == "dog") + number
                filesystem.pipe_file(f"{s3_url}/set/{split}/{name}/{number}.png", png(red))
    assert len(listing(f"{s3_url.replace('s3', 'S3', 1)}/set")) == 8
    filesystem.pipe_file(f"{s3_url}/target/", b"")
    assert Store(f"{s3_url}/target").listing() == {}
    built = CliRunner().invoke(main, ["data", "build", "mine", "--from", f"{s3_url}/set", "--to", f"{s3_url}/target"])
    assert built.exit_code == 0, built.stderr
