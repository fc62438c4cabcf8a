"""Encoded images to (N, S, S, 3) uint8: Pillow's antialiased resize, as timm does it at evaluation.

`source` calls `decode` once per split. The result does not depend on the number of threads and is read-only.
How odd images become RGB: EXIF rotation is applied; transparency is laid on white; 16-bit greys keep their
high byte; CMYK and the like are converted by Pillow; of an animation the first frame counts.
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

from lion_ray.data.item import BadData, Encoded, EncodedImage, ordered, reason
from lion_ray.data.pool import frozen

LOGGER = logging.getLogger(__name__)
INTERPOLATIONS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
LONG = 64
"""Above this ratio of its sides an image that is cropped is not resized as a whole: only what the crop shows of it."""
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
"""EXIF's orientations, and what makes each upright."""


@dataclass(frozen=True, kw_only=True)
class Resize:
    """To `size` × `size` pixels: straight to the square, or by `crop_fraction`.

    With `crop_fraction` the short side becomes floor(size / crop_fraction) and the middle is cut out, which is
    timm's evaluation transform at that `crop_pct`.
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
        """One RGB image, resized."""
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
    """The items as one read-only array (N, S, S, 3); the k-th item lands at `places[k]`.

    Raises:
        BadData: an image cannot be read or decoded.
    """
    images = np.empty((len(places), resize.size, resize.size, 3), dtype=np.uint8)
    decode_into(images, items, places, resize, num_threads=num_threads)
    return frozen(images)


def decode_into(
    images: npt.NDArray[np.uint8],
    items: Iterable[EncodedImage],
    places: Sequence[int],
    resize: Resize,
    *,
    num_threads: int | None = None,
) -> None:
    """`decode` into an array that is there; each thread writes its own images.

    Raises:
        BadData: as `decode`.
    """

    def work(job: tuple[EncodedImage, int]) -> None:
        item, place = job
        images[place] = pixels_of(item, resize=resize)

    for _ in ordered(zip(items, places, strict=True), work, num_threads):
        pass


def pixels_of(item: EncodedImage, *, resize: Resize) -> npt.NDArray[np.uint8]:
    """One image (S, S, 3), read, decoded and resized.

    Raises:
        BadData: it cannot be read or decoded.
    """
    return rgb(item.read(), item.where, resize)


def rgb(encoded: Encoded, where: str, resize: Resize | None = None) -> npt.NDArray[np.uint8]:
    """One image upright as (H, W, 3), as large as it is without `resize`.

    Pillow and the codecs behind it are called here and nowhere else. Whatever they raise is this image's fault: no list
    of their exceptions has ever been complete.

    Raises:
        BadData: it cannot be decoded; `where` is for the message.
    """
    try:
        image = to_rgb(_opened(encoded))
        return np.asarray(image if resize is None else resize(image))
    except Exception as error:
        raise BadData(f"{where}: the image cannot be decoded ({reason(error)})") from error


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
    """EXIF's, 1 (upright) where nothing readable says otherwise; no other tag is looked at, so none can be at fault."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:
        LOGGER.debug("EXIF cannot be read, so the image counts as upright", exc_info=True)
        return 1
    return found if isinstance(found, int) else 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Any image that Pillow opens, upright and as 8-bit RGB (see the module's rules).

    Raises:
        ValueError: floating-point or 32-bit pixels, whose range nobody can know.
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
