"""Real clients against real servers on loopback: the HuggingFace hub, the web, S3; as few requests as can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import fsspec
import pytest
import s3fs

from tests.data.test_archive import FOLDER, packed
from tests.data.test_arrays import IMAGES, LABELS, npz
from tests.data.test_parquet import rows, write
from tests.data.test_webdataset import samples, tar
from tests.support.small_sets import fault, look, png, put, reds
from tests.support.web import SHA, Site, site


def parquet(first: int, num: int) -> bytes:
    url = f"memory://data-urls/{first}-{num}.parquet"
    write(url, rows(first, num))
    return bytes(fsspec.filesystem("memory").cat_file(url))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """The hub's dataset `me/pets`, asked by huggingface_hub's own client."""
    files = {
        "README.md": b"words",
        "data/train-00000-of-00002-0a1b2c3d4e5f6071.parquet": parquet(0, 6),
        "data/train-00001-of-00002-0a1b2c3d4e5f6072.parquet": parquet(6, 3),
        "data/validation-00000-of-00001-0a1b2c3d4e5f6073.parquet": parquet(9, 3),
        "data/test-00000-of-00001-0a1b2c3d4e5f6074.parquet": parquet(12, 3),
    }
    with site(files) as server:
        monkeypatch.setitem(fsspec.config.conf, "hf", {"endpoint": server.url, "token": False})
        yield server


@pytest.mark.parametrize("revision", ["", "@main", f"@{SHA}", "@refs/convert/parquet"])
def test_a_dataset_of_the_huggingface_hub_is_read_by_its_name(hub: Site, revision: str) -> None:
    source = look(f"hf://datasets/me/pets{revision}")
    assert reds(source) == {"train": [*range(9)], "val": [9, 10, 11], "test": [12, 13, 14]}


def test_one_image_of_the_hub_costs_its_row_group_and_no_question(hub: Site) -> None:
    source = look("hf://datasets/me/pets")
    hub.requests.clear()
    next(source.found.pools["test"].items([0])).read()
    assert [(method, "resolve" in path) for method, path, _ in hub.requests] == [("GET", True)]


CSV_ON_THE_WEB = "path,label,split\na b#1.png,0,train\n./deep/2.png,1,train\nhttp://{0}/3.png,0,val\n4.png,1,test\n"
WEB: Mapping[str, bytes] = {
    "set.zip": packed(FOLDER),
    "set.tar": tar(samples(0, 12)),
    "set.npz": npz(images=IMAGES, labels=LABELS),
    "set.parquet": parquet(0, 12),
    "a b#1.png": png(1),
    "deep/2.png": png(2),
    "3.png": png(3),
    "4.png": png(4),
}


@pytest.mark.parametrize("name", ["set.zip", "set.tar", "set.npz", "set.parquet"])
def test_a_web_server_gives_single_files(name: str) -> None:
    put("memory://data-urls-web", WEB)
    with site(WEB) as server:
        assert look(f"{server.url}/{name}").identity() == look(f"memory://data-urls-web/{name}").identity()


def test_a_list_on_the_web_names_images_beside_it_or_elsewhere_on_the_web() -> None:
    files = dict(WEB)
    with site(files) as server:
        files["list.csv"] = CSV_ON_THE_WEB.format(server.url.removeprefix("http://")).encode()
        url = f"{server.url}/list.csv"
        assert reds(look(url)) == {"train": [1, 2], "val": [3], "test": [4]}
        files["list.csv"] = b"path,label\n../x.png,0\n"
        assert fault(url).startswith("list.csv: line 2: '../x.png' leaves the root")
        files["list.csv"] = b"path,label,split\n3.png,0,train\n4.png,1,train\n5.png,1,val\n2.png,1,test\n"
        assert fault(url).startswith("list.csv: line 4: 5.png: cannot be read (")


def test_a_web_server_without_ranges_is_told_and_a_copy_helps() -> None:
    with site(WEB, has_ranges=False) as server:
        for name in ("set.zip", "set.tar"):
            assert "; if the server ignores ranges, give simplecache::URL" in fault(f"{server.url}/{name}")
        copied = look(f"simplecache::{server.url}/set.zip")
        assert len(reds(copied)["train"]) == 2


def test_images_on_s3_cost_one_request_each_and_the_listing_none(s3_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put(f"{s3_url}/set", FOLDER)
    calls, real = list[str](), s3fs.S3FileSystem._call_s3

    async def counted(self: object, method: str, *args: object, **kwargs: object) -> object:
        calls.append(method)
        return await real(self, method, *args, **kwargs)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    source = look(f"{s3_url}/set")
    assert "head_object" not in calls
    assert len(calls) <= 2
    calls.clear()
    assert len(reds(source)["train"]) == 2
    assert calls == ["get_object"] * 6


def test_tars_zips_and_lists_on_s3_are_read_by_range(s3_url: str) -> None:
    put(s3_url, {"a/set.tar": tar(samples(0, 12)), "b/set.zip": packed(FOLDER)})
    put("memory://data-urls-s3", {"a/set.tar": tar(samples(0, 12)), "b/set.zip": packed(FOLDER)})
    for path in ("a/set.tar", "a", "b/set.zip"):
        assert look(f"{s3_url}/{path}").identity() == look(f"memory://data-urls-s3/{path}").identity()
