"""Decoding of images to (N, S, S, 3) uint8 with Pillow's antialiased resize, as timm's evaluation transform does it.

`encoded` and `lion_ray.ticket.prediction` call it. The result does not depend on the number of threads. Images become
RGB by these rules: EXIF rotation is applied, transparent images are composed on white, 16-bit grey keeps its high byte,
Pillow converts other modes such as CMYK, and only the first frame of an animation is used.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from lion_ray.data.item import BadData, Encoded, EncodedImage, error_text, map_ordered
from lion_ray.data.pool import read_only

LOGGER = logging.getLogger(__name__)
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
LONG = 64
"""Above this ratio of its sides only the part of an image that the crop shows is resized."""
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that makes each EXIF orientation upright."""


@dataclass(frozen=True, kw_only=True)
class Resize:
    """Resize an image to a square.

    Args:
        size: side of the square in pixels.
        interpolation: `bicubic` or `bilinear`.
        crop_fraction: timm's `crop_pct`: the short side becomes floor(size / crop_fraction), and the centre is cropped.
            None resizes both sides to `size`.

    Raises:
        ValueError: an argument is out of range.
    """

    size: int
    interpolation: str = "bicubic"
    crop_fraction: float | None = None

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"size: {self.size} must be at least 1")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation: {self.interpolation!r} is not one of {', '.join(INTERPOLATIONS)}")
        if self.crop_fraction is not None and not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction: {self.crop_fraction} must be above 0 and at most 1")

    def __call__(self, image: Image.Image) -> Image.Image:
        """Resize one RGB image."""
        filter_ = INTERPOLATIONS[self.interpolation]
        if self.crop_fraction is None:
            return image.resize((self.size, self.size), filter_)
        short = math.floor(self.size / self.crop_fraction)
        long = int(short * max(image.size) / min(image.size))
        width, height = (short, long) if image.width <= image.height else (long, short)
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        window = (left, top, left + self.size, top + self.size)
        if max(image.size) <= LONG * min(image.size):
            return image.resize((width, height), filter_).crop(window)
        across, down = image.width / width, image.height / height
        box = (window[0] * across, window[1] * down, window[2] * across, window[3] * down)
        return image.resize((self.size, self.size), filter_, box=box)


def decode(
    items: Iterable[EncodedImage], places: Sequence[int], resize: Resize, *, num_threads: int | None = None
) -> npt.NDArray[np.uint8]:
    """Decode images to one read-only array (N, S, S, 3).

    Args:
        items: the N encoded images.
        places: the row of the array for each item.
        resize: size and interpolation.
        num_threads: None uses all cores of this process.

    Raises:
        BadData: an image cannot be read or decoded.
    """
    images = np.empty((len(places), resize.size, resize.size, 3), dtype=np.uint8)
    decode_into(images, items, places, resize, num_threads=num_threads)
    return read_only(images)


def decode_into(
    images: npt.NDArray[np.uint8],
    items: Iterable[EncodedImage],
    places: Sequence[int],
    resize: Resize,
    *,
    num_threads: int | None = None,
) -> None:
    """Decode images into an existing array. Each thread writes its own images.

    Args:
        images: (N, S, S, 3) uint8, written in place.
        items: the N encoded images.
        places: the row of `images` for each item.
        resize: size and interpolation.
        num_threads: None uses all cores of this process.

    Raises:
        BadData: an image cannot be read or decoded.
    """

    def work(job: tuple[EncodedImage, int]) -> None:
        item, place = job
        images[place] = pixels_of(item, resize=resize)

    for _ in map_ordered(zip(items, places, strict=True), work, num_threads):
        pass


def pixels_of(item: EncodedImage, *, resize: Resize) -> npt.NDArray[np.uint8]:
    """Read, decode and resize one image to (S, S, 3).

    Raises:
        BadData: the image cannot be read or decoded.
    """
    return rgb(item.read(), item.where, resize)


def rgb(encoded: Encoded, where: str, resize: Resize | None = None) -> npt.NDArray[np.uint8]:
    """Decode one image to RGB (H, W, 3), upright.

    Datasets are decoded only here. Every exception of Pillow and its codecs counts as a fault of the image, because
    they raise many undocumented ones.

    Args:
        encoded: the bytes of an image file, or pixels (H, W) or (H, W, 3).
        where: file and row, for the message.
        resize: size and interpolation; None keeps the image's size.

    Raises:
        BadData: the image cannot be decoded.
    """
    try:
        image = to_rgb(_opened(encoded))
        return np.asarray(image if resize is None else resize(image))
    except Exception as error:
        raise BadData(f"{where}: the image cannot be decoded ({error_text(error)})") from error


def _opened(encoded: Encoded) -> Image.Image:
    if not isinstance(encoded, bytes):
        return Image.fromarray(encoded)
    try:
        image = Image.open(io.BytesIO(encoded))
    except UnidentifiedImageError as error:
        raise ValueError("no image format that Pillow knows") from error
    limit, pixels = Image.MAX_IMAGE_PIXELS, image.width * image.height
    if limit is not None and pixels > limit:  # Pillow only warns up to twice the limit
        raise ValueError(f"{pixels} pixels, a decompression bomb? The limit is {limit}")
    return image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) if it is missing or unreadable. No other tag is read, so none can fail."""
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:
        LOGGER.debug("EXIF cannot be read, so the image counts as upright", exc_info=True)
        return 1
    return orientation if isinstance(orientation, int) else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image to upright 8-bit RGB by the rules of this module.

    Raises:
        ValueError: the pixels are floating-point or 32-bit numbers, whose range is unknown.
    """
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise ValueError(f"mode {image.mode} has no known range; store 8 or 16 bits per channel")
    turn = TURNS.get(_orientation(image))
    image = image if turn is None else image.transpose(turn)
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        alpha = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", alpha.size, "white"), alpha).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
