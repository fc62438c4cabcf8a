"""Classification of images with a ticket's model: `lion_ray.predict` and the command `lion-ray predict`.

Images are decoded, resized and normalised exactly as the ticket's training images were. Memory holds one batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import torch

from lion_ray.backbones import Transform
from lion_ray.data import EncodedImage, Image, Resize, decode, find_images
from lion_ray.methods import AdaptedModel

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """The likeliest classes of one image.

    `image` names the image. `top` holds pairs of class name and softmax probability (0 to 1), most likely first.
    """

    image: str
    top: tuple[tuple[str, float], ...]

    @property
    def label(self) -> str:
        """The name of the likeliest class."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """The softmax probability of `label`, 0 to 1."""
        return self.top[0][1]


def predict(
    model: AdaptedModel, images: Image | Iterable[Image], *, top: int = 1, batch_size: int = BATCH_SIZE
) -> Iterator[Prediction]:
    """Classify images on the model's device. Yields one `Prediction` per image, in the order of the images.

    Args:
        model: the model that `load_ticket` returned.
        images: paths or URLs of images or of folders, which are searched for images; or uint8 arrays (H, W, 3).
        top: how many classes to name for each image; at most the number of classes.
        batch_size: how many images are decoded and classified at a time.

    Raises:
        ValueError: the model is not from a ticket, or `top` or `batch_size` is below 1.
        BadData: a `ValueError` with the image's name: an image is missing or broken. It is raised at once if a listing
            shows it, and otherwise when the image is reached.
    """
    if not model.classes:
        raise ValueError("this model has no class names: predict takes what load_ticket gives")
    if top < 1 or batch_size < 1:
        raise ValueError(f"top is {top} and batch_size {batch_size}: give 1 or more")
    return _predictions(model, find_images(images), top=min(top, len(model.classes)), batch_size=batch_size)


def _predictions(
    model: AdaptedModel, items: Sequence[EncodedImage], *, top: int, batch_size: int
) -> Iterator[Prediction]:
    transform, device = model.body.backbone.transform, next(model.parameters()).device
    resize = _resize(transform)
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        pixels = decode(batch, range(len(batch)), resize)
        with torch.no_grad():
            logits = model(transform.normalised(pixels.copy(), device)).float()
        if not bool(logits.isfinite().all()):
            wrong = int((~logits.isfinite().all(1)).nonzero()[0])
            raise ValueError(f"{batch[wrong].where}: the model answers with numbers that are not finite")
        likeliest = logits.sort(dim=1, descending=True, stable=True).indices[:, :top]  # the first of equal ones
        probabilities = logits.softmax(1).gather(1, likeliest)
        for item, values, indices in zip(batch, probabilities.tolist(), likeliest.tolist(), strict=True):
            named = ((model.classes[index], value) for index, value in zip(indices, values, strict=True))
            yield Prediction(image=item.where, top=tuple(named))


def _resize(transform: Transform) -> Resize:
    return Resize(size=transform.size, interpolation=transform.interpolation, crop_fraction=transform.crop_fraction)
