"""`lion_ray.predict` and its command: a dataset's own pixels, any place, one line for what is wrong."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import lion_ray
from lion_ray import data
from lion_ray.cli import commands
from lion_ray.config import DatasetConfig
from lion_ray.data.readers import DataWarning
from lion_ray.methods import AdaptedModel
from lion_ray.store import Store


@pytest.fixture(scope="session")
def ticket_url(every_method: Mapping[str, Store]) -> str:
    store = every_method["lion"]
    return next(f"{store.url}/{path}" for path in store.paths() if path.endswith("round-1/ticket.safetensors"))


@pytest.fixture(scope="session")
def model(ticket_url: str) -> AdaptedModel:
    return lion_ray.load_ticket(ticket_url)


@pytest.fixture
def photos(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A dataset's folders, of odd images: turned by EXIF, transparent, grey, wide."""
    folder = tmp_path / "photos"
    for split in ("train", "val", "test"):
        for name in ("a", "b"):
            (folder / split / name).mkdir(parents=True)
            for number, mode in enumerate(("RGB", "RGBA", "L")):
                shape = (40 + 7 * number, 61) if mode == "L" else (40 + 7 * number, 61, len(mode))
                image, exif = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)), Image.Exif()
                exif[0x0112] = 6
                image.save(folder / split / name / f"{number} {mode}.png", exif=exif)
    (folder / "test" / "README.txt").write_text("no image")
    (folder / "test" / "a" / ".hidden.png").write_text("no image")
    return folder


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(commands.main, ["predict", *arguments])
    return result.exit_code, result.output


@pytest.mark.parametrize("crop", [None, 0.875])
def test_images_are_decoded_as_a_datasets_are(model: AdaptedModel, photos: Path, crop: float | None) -> None:
    backbone = model.body.backbone
    before = backbone.transform
    backbone.transform = dataclasses.replace(before, crop_fraction=crop)
    try:
        (photos / "test" / "README.txt").unlink()
        (photos / "test" / "a" / ".hidden.png").unlink()
        test = data.find(DatasetConfig(name="photos", url=str(photos))).decode(size=32, crop_fraction=crop).test
        with torch.no_grad():
            logits = model(backbone.transform.normalised(test.images.copy(), torch.device("cpu")))
        found = list(lion_ray.predict(model, photos / "test", top=10))
    finally:
        backbone.transform = before
    for one, probabilities in zip(found, logits.softmax(1), strict=True):
        assert dict(one.top) == dict(zip(model.classes, probabilities.tolist(), strict=True))
        assert one.label == model.classes[int(probabilities.argmax())]


def test_folders_are_searched_in_order_and_batches_do_not_matter(model: AdaptedModel, photos: Path) -> None:
    several: list[str | Path] = [photos / "val" / "b" / "0 RGB.png", str(photos / "test"), f"{photos}/train/a/"]
    with pytest.warns(DataWarning, match=r"photos/test: not classified: 1 file \((README.txt|a/.hidden.png)\)"):
        found = list(lion_ray.predict(model, several))
    folder = [f"{photos}/test/{name}/{image}.png" for name in "ab" for image in ("0 RGB", "1 RGBA", "2 L")]
    train = [f"{photos}/train/a/{image}.png" for image in ("0 RGB", "1 RGBA", "2 L")]
    assert [one.image for one in found] == [str(several[0]), *folder, *train]
    with pytest.warns(DataWarning):
        by_threes = list(lion_ray.predict(model, several, batch_size=3))
    for one, alone in zip(found, by_threes, strict=True):
        assert (one.image, one.label) == (alone.image, alone.label)
        assert one.probability == pytest.approx(alone.probability, abs=1e-5)


def test_arrays_and_other_filesystems_are_taken(model: AdaptedModel, ticket_url: str, photos: Path) -> None:
    path = photos / "test" / "a" / "0 RGB.png"
    memory = fsspec.filesystem("memory")
    memory.pipe(
        {"/shelf/t": Path(ticket_url.removeprefix("file://")).read_bytes(), "/shelf/x/a.png": path.read_bytes()}
    )
    upright = np.asarray(Image.open(io.BytesIO(path.read_bytes())).transpose(Image.Transpose.ROTATE_270))
    of_array, of_url, of_folder, of_path = [
        *lion_ray.predict(model, upright),
        *lion_ray.predict(lion_ray.load_ticket("memory://shelf/t"), "memory://shelf/x/a.png"),
        *lion_ray.predict(model, "memory://shelf/x"),
        *lion_ray.predict(model, path),
    ]
    assert of_array.top == of_url.top == of_folder.top == of_path.top
    assert (of_array.image, of_url.image, of_folder.image) == ("image 0", *["memory://shelf/x/a.png"] * 2)


def test_the_command_prints_lines_for_people_and_for_programs(ticket_url: str, photos: Path) -> None:
    image = str(photos / "test" / "a" / "0 RGB.png")
    status, printed = invoke(ticket_url, image, str(photos / "val"), "--json", "--top", "2")
    assert status == 0, printed
    first, *others = (json.loads(line) for line in printed.splitlines())
    assert len(others) == 6
    assert first["image"] == image
    assert first["top"][0] == {"label": first["label"], "probability": first["probability"]}
    assert first["top"][0]["probability"] >= first["top"][1]["probability"]
    status, printed = invoke(ticket_url, image)
    assert (status, printed) == (0, f"{image}\t{first['label']}\t{first['probability']:.4f}\n")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cut.png", "cut.png: the image cannot be decoded (image file is truncated)"),
        ("text.txt", "text.txt: the image cannot be decoded (no image format that Pillow knows)"),
        ("none.png", "none.png: no such image or folder"),
        ("empty", "empty: no images are below this folder"),
    ],
)
def test_a_bad_image_among_good_ones_is_named_in_one_line(ticket_url: str, photos: Path, name: str, says: str) -> None:
    good = photos / "test" / "a" / "0 RGB.png"
    (photos / "cut.png").write_bytes(good.read_bytes()[:200])
    (photos / "text.txt").write_text("no image")
    (photos / "empty").mkdir()
    (photos / "empty" / "notes.txt").write_text("no image")
    assert invoke(ticket_url, str(good), str(photos / name), str(good)) == (2, f"Error: {photos}/{says}\n")


def test_what_is_wrong_with_the_ticket_is_one_line(ticket_url: str, photos: Path) -> None:
    image = str(photos / "test" / "a" / "0 RGB.png")
    assert invoke(image, image) == (2, f"Error: {image}: this file is not a lion_ray ticket\n")
    assert invoke(f"{photos}/none", image) == (2, f"Error: {photos}/none: No such file or directory\n")
    for arguments, says in (
        (("--weights", "random"), "trained on other weights of tf_efficientnet_lite0"),
        (("--weights", "none.pth"), "say where they are with weights=... (--weights)"),
        (("--device", "nowhere"), "device 'nowhere' cannot be used"),
    ):
        status, printed = invoke(ticket_url, image, *arguments)
        assert status == 2
        assert says in printed
        assert len(printed.splitlines()) == 1


def test_only_a_tickets_model_predicts(model: AdaptedModel) -> None:
    with pytest.raises(ValueError, match="takes what load_ticket gives"):
        lion_ray.predict(AdaptedModel(model.body, model.head), [])
    with pytest.raises(ValueError, match="give 1 or more"):
        lion_ray.predict(model, [], top=0)
    with pytest.raises(ValueError, match=r"float64 \(4, 4, 3\)"):
        lion_ray.predict(model, np.zeros((4, 4, 3)))
