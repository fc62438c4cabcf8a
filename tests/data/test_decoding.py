"""Decoding: Pillow's and timm's pixels bit for bit, whatever the threads; odd modes sensible; broken bytes named."""

from __future__ import annotations

import io
import pickle
import resource
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from timm.data.transforms_factory import create_transform

from lion_ray.data import item
from lion_ray.data.dataset import ArraySplit
from lion_ray.data.decode.decoding import Resize, decode
from lion_ray.data.item import BadData, Encoded, EncodedImage

Array = np.ndarray[Any, Any]


def noise(height: int, width: int, seed: int = 0) -> Array:
    pixels: Array = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return pixels


def save(image: Image.Image, kind: str = "png", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def items(*encoded: Encoded) -> Iterator[EncodedImage]:
    for index, one in enumerate(encoded):
        yield EncodedImage(index=index, where=f"row {index}", load=partial(lambda value: value, one))


def pixels(encoded: Encoded, size: int = 4, **options: Any) -> Array:
    (image,) = decode(items(encoded), [0], Resize(size=size, **options))
    return np.asarray(image)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(40, 61), (9, 5), (32, 32)])
def test_the_square_is_pillows_antialiased_resize(shape: tuple[int, int], interpolation: str) -> None:
    image = Image.fromarray(noise(*shape))
    want = np.asarray(image.resize((32, 32), getattr(Image.Resampling, interpolation.upper())))
    np.testing.assert_array_equal(pixels(save(image), 32, interpolation=interpolation), want)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("fraction", [1.0, 0.875, 0.9])
@pytest.mark.parametrize("shape", [(50, 71), (83, 40), (30, 30), (37, 36)])
def test_the_crop_is_timms_evaluation_transform(shape: tuple[int, int], fraction: float, interpolation: str) -> None:
    image = Image.fromarray(noise(*shape))
    timms = create_transform(32, interpolation=interpolation, crop_pct=fraction, normalize=False)
    want = timms(image).permute(1, 2, 0).numpy()
    got = pixels(save(image), 32, interpolation=interpolation, crop_fraction=fraction)
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("shape", [(375, 500), (101, 33), (7, 224), (225, 223)])
def test_at_224_px_square_and_crop_are_timms_too(shape: tuple[int, int], interpolation: str) -> None:
    encoded = save(Image.fromarray(noise(*shape)), "jpeg")
    for fraction, mode in ((None, "squash"), (0.9, "center")):
        timms = create_transform(
            224, interpolation=interpolation, crop_pct=fraction or 1.0, crop_mode=mode, normalize=False
        )
        want = timms(Image.open(io.BytesIO(encoded))).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(pixels(encoded, 224, interpolation=interpolation, crop_fraction=fraction), want)


@pytest.fixture(params=["quick", "slow"])
def pace(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every item counts as quick (this thread does them all) or as slow (a pool does, after the first chunk)."""
    monkeypatch.setattr(item, "QUICK", {"quick": 60.0, "slow": -60.0}[request.param])


@pytest.mark.usefixtures("pace")
def test_threads_do_not_matter_and_places_do() -> None:
    encoded = [save(Image.fromarray(noise(12, 15, seed))) for seed in range(150)]
    places = np.random.default_rng(0).permutation(150).tolist()
    one, many = (decode(items(*encoded), places, Resize(size=8), num_threads=n) for n in (1, 7))
    np.testing.assert_array_equal(one, many)
    np.testing.assert_array_equal(one[places[3]], pixels(encoded[3], 8))


@pytest.mark.usefixtures("pace")
def test_the_first_bad_image_in_order_is_told_whatever_the_threads() -> None:
    encoded = [save(Image.fromarray(noise(6, 6))) for _ in range(200)]
    encoded[70] = encoded[190] = b"broken"
    for num_threads in (1, 5):
        with pytest.raises(BadData, match="row 70: the image cannot be decoded"):
            decode(items(*encoded), range(200), Resize(size=8), num_threads=num_threads)


@pytest.mark.usefixtures("pace")
def test_memory_in_flight_is_bounded() -> None:
    """The reader is never far ahead of the decoder, so a set larger than memory can stream through."""
    alive, most = set[int](), 0
    encoded = save(Image.fromarray(noise(6, 6)))

    def load(index: int) -> bytes:
        alive.discard(index)
        return encoded

    def stream() -> Iterator[EncodedImage]:
        nonlocal most
        for index in range(2000):
            alive.add(index)
            most = max(most, len(alive))
            yield EncodedImage(index=index, where="", load=partial(load, index))

    decode(stream(), range(2000), Resize(size=2), num_threads=2)
    assert most <= 6 * 32


@pytest.mark.parametrize(("seconds", "threads"), [(2e-3, {1, 2}), (0.0, {0})])
def test_only_what_takes_time_goes_to_threads(seconds: float, threads: set[int]) -> None:
    """Two threads need longer than one for images of 32 x 32: Python's lock changes hands too often."""
    pool = set[int]()

    def work(_: int) -> None:
        if seconds:
            time.sleep(seconds)
        if threading.current_thread() is not threading.main_thread():
            pool.add(threading.get_ident())

    assert [number for number, _ in item.map_ordered(range(300), work, 2)] == list(range(300))
    assert len(pool) in threads


def test_decoded_arrays_are_read_only_and_stay_so_when_pickled() -> None:
    images = decode(items(noise(4, 4)), [0], Resize(size=4))
    labels = np.zeros(1, dtype=np.int64)
    labels.flags.writeable = False
    split: ArraySplit = pickle.loads(pickle.dumps(ArraySplit(pixels=images, labels=labels)))  # noqa: S301
    for array in (images, split.images, split.labels):
        with pytest.raises(ValueError, match="read-only"):
            array += 1


def test_stored_pixels_are_decoded_like_files() -> None:
    grey = noise(28, 28)[..., 0]
    np.testing.assert_array_equal(pixels(grey, 16), pixels(save(Image.fromarray(grey)), 16))


def test_exif_rotation_is_applied() -> None:
    image = Image.fromarray(noise(4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    turned = np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(pixels(save(image, exif=exif.tobytes())), turned)


@pytest.mark.parametrize(
    ("tag", "kind", "count", "raw"),
    [(0x011A, 2, 5, b"72/1\0"), (0x011A, 7, 4, b"72/1"), (0x010F, 5, 1, struct.pack("<II", 1, 2))],
)
def test_a_malformed_tag_beside_the_orientation_is_no_fault(tag: int, kind: int, count: int, raw: bytes) -> None:
    """Cameras and editors write such: a resolution as text, a maker as a fraction."""
    image = Image.fromarray(noise(4, 4))
    place = 8 + 2 + 2 * 12 + 4
    turned = struct.pack("<HHI4s", 0x0112, 3, 1, struct.pack("<H", 6))
    odd = struct.pack("<HHI4s", tag, kind, count, raw if len(raw) <= 4 else struct.pack("<I", place))
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + turned + odd + bytes(4) + raw
    want = np.asarray(image.transpose(Image.Transpose.ROTATE_270))
    np.testing.assert_array_equal(pixels(save(image, exif=exif)), want)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    encoded = save(Image.fromarray(noise(4, 4)), exif=exif.tobytes())
    np.testing.assert_array_equal(pixels(encoded), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))))


def test_whatever_a_codec_raises_is_that_images_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged AVIF is a RuntimeError, and no list of kinds has ever been complete."""
    whole, kinds = save(Image.fromarray(noise(60, 80)), "avif"), set[object]()
    for place in range(0, len(whole), 9):
        try:
            pixels(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        except BadData as error:
            kinds.add(type(error.__cause__))
    assert RuntimeError in kinds

    class Surprise(Exception):
        pass

    def surprised(*_: object, **__: object) -> None:
        raise Surprise

    monkeypatch.setattr(Image, "open", surprised)
    with pytest.raises(BadData, match=r"row 0: the image cannot be decoded \(Surprise\)"):
        pixels(whole)


@pytest.mark.parametrize("shape", [(2, 40_000), (40_000, 2)])
def test_what_a_crop_does_not_show_of_a_long_image_costs_nothing(shape: tuple[int, int]) -> None:
    """Its short side grows to the crop's size: as a whole it would be 5.7 million pixels wide, 4 GB."""
    encoded = save(Image.fromarray(noise(*shape)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert pixels(encoded, 256, crop_fraction=0.9).shape == (256, 256, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_long_images_crop_is_that_of_the_whole() -> None:
    image = Image.fromarray(noise(3, 300))
    whole = image.resize((2800, 28), Image.Resampling.BICUBIC).crop((1388, 2, 1412, 26))
    got = pixels(save(image), 24, crop_fraction=24 / 28)
    assert np.abs(got.astype(int) - np.asarray(whole).astype(int)).max() <= 2


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 51))
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert pixels(save(clear))[0, 0].tolist() == [255, 255, 255]
    assert pixels(save(half))[0, 0].tolist() == [204, 204, 204]
    assert pixels(save(Image.new("LA", (4, 4), (9, 255))))[0, 0].tolist() == [9, 9, 9]
    assert pixels(save(palette))[0, 0].tolist() == [200, 100, 50]
    assert pixels(save(palette, transparency=1))[0, 0].tolist() == [255, 255, 255]
    assert pixels(save(palette, transparency=0))[0, 0].tolist() == [200, 100, 50]


def test_sixteen_bits_keep_the_high_byte_and_do_not_clip() -> None:
    deep = np.array([[0x0000, 0x1234], [0x80FF, 0xFFFF]], dtype=np.uint16)
    for kind in ("png", "tiff"):
        got = pixels(save(Image.fromarray(deep), kind), 2)
        assert got[..., 0].tolist() == [[0x00, 0x12], [0x80, 0xFF]]


def test_other_modes_become_rgb() -> None:
    assert pixels(save(Image.new("L", (4, 4), 77)))[0, 0].tolist() == [77, 77, 77]
    assert pixels(save(Image.new("1", (4, 4), 1)))[0, 0].tolist() == [255, 255, 255]
    cmyk = pixels(save(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "jpeg"))[0, 0].tolist()
    assert cmyk[0] > 240
    assert max(cmyk[1:]) < 15


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_of_unknown_range_are_refused(mode: str) -> None:
    with pytest.raises(BadData, match=f"mode {mode} has no known range"):
        pixels(save(Image.new(mode, (4, 4), 3), "tiff"))


@pytest.mark.parametrize("factor", [1.5, 5])
def test_decompression_bombs_are_refused(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    encoded = save(Image.new("RGB", (30, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(900 / factor))
    with pytest.raises(BadData, match=r"row 0: the image cannot be decoded \(.*decompression bomb"):
        pixels(encoded)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_that_pillow_only_warns_about_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = save(Image.new("RGB", (30, 30)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 600)
    with pytest.raises(BadData, match="900 pixels, a decompression bomb"):
        pixels(encoded)


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "tiff", "bmp"])
def test_half_a_file_is_refused(kind: str) -> None:
    encoded = save(Image.fromarray(noise(64, 64)), kind)
    with pytest.raises(BadData, match="row 0: the image cannot be decoded"):
        pixels(encoded[: len(encoded) // 2])


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp", "tiff", "bmp"])
def test_no_cut_and_no_flipped_byte_escapes_as_another_error(kind: str) -> None:
    encoded = save(Image.fromarray(noise(12, 12)), kind)
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(encoded)
        for place in rng.integers(0, min(len(broken), 120), 2):
            broken[place] = rng.integers(0, 256)
        for one in (bytes(broken), encoded[: rng.integers(0, len(encoded))]):
            with suppress(BadData):
                pixels(one)


@pytest.mark.parametrize("options", [{"size": 0}, {"interpolation": "cubic"}, {"crop_fraction": 0.0}])
def test_a_wrong_resize_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Resize(**{"size": 8, **options})
