"""Images without labels, for prediction: files, folders and arrays, decoded in the same way as those of a dataset.

`lion_ray.ticket.prediction` calls `find_images` once, and `lion_ray.data.decode` batch by batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TypeAlias

import numpy as np

from lion_ray.data.files import is_web
from lion_ray.data.item import BadData, EncodedImage
from lion_ray.data.readers.folder import is_image
from lion_ray.data.readers.junk import exclusion_reason
from lion_ray.data.readers.labels import warn
from lion_ray.data.readers.listing import IMAGES, relative, without_protocol
from lion_ray.data.readers.notes import count_and_names
from lion_ray.store import find_files, read_url

Image: TypeAlias = "str | os.PathLike[str] | np.ndarray"
"""A path or URL of an image or of a folder of images, or pixels as uint8 (H, W, 3) or (H, W)."""

NO_IMAGE = f"their names end in none of {', '.join(IMAGES)}"


def find_images(images: Image | Iterable[Image]) -> list[EncodedImage]:
    """Find images in the given order. Those of a folder, at any depth and not hidden, follow in the order of paths.

    Raises:
        BadData: a path does not exist, a folder holds no images, or an array is no uint8 image.
    """
    several = [images] if isinstance(images, (str, os.PathLike, np.ndarray)) else images
    found = [(where, image) for number, place in enumerate(several) for where, image in _found(place, number)]
    return [
        EncodedImage(
            index=index, where=where, load=partial(read_url, image) if isinstance(image, str) else partial(_kept, image)
        )
        for index, (where, image) in enumerate(found)
    ]


def _found(place: Image, number: int) -> Iterator[tuple[str, str | np.ndarray]]:
    """The name of each image for messages, and its URL or pixels."""
    if isinstance(place, np.ndarray):
        yield f"image {number}", _checked(place, number)
        return
    url = os.fspath(place)
    if is_web(url) and not url.endswith("/"):  # web servers list pages, not folders
        yield url, url
        return
    try:
        files = find_files(url)
    except Exception as error:
        raise BadData(f"{url} cannot be read ({type(error).__name__}: {error})") from error
    if [without_protocol(file) for file in files] == [without_protocol(url)]:
        yield url, files[0]
        return
    paths = {relative(file, url): file for file in files}
    reasons = {path: exclusion_reason(path) or (None if is_image(path) else NO_IMAGE) for path in sorted(paths)}
    images = [path for path, reason in reasons.items() if reason is None]
    for reason in sorted({*reasons.values()} - {None}, key=str) if images else ():
        warn(
            f"{url}: not classified: {count_and_names([path for path in reasons if reasons[path] == reason])}: {reason}"
        )
    if not images:
        raise BadData(f"{url}: {'no images are below this folder' if files else 'no such image or folder'}")
    yield from ((f"{url.rstrip('/')}/{path}", paths[path]) for path in images)


def _checked(pixels: np.ndarray, number: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise BadData(f"image {number} is {pixels.dtype} {pixels.shape}: give uint8 (H, W, 3) or (H, W)")
    return pixels


def _kept(pixels: np.ndarray) -> np.ndarray:
    return pixels
