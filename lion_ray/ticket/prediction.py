"""Images to classes with a ticket's model: `lion_ray.predict`, and the command `lion-ray predict` behind it.

Images are decoded, resized and normalised exactly as those the ticket was trained on; memory holds one batch of them.
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
    """One image's likeliest classes, most likely first: pairs of class name and softmax probability."""

    image: str
    top: tuple[tuple[str, float], ...]

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.top[0][0]

    @property
    def probability(self) -> float:
        """Of `label`, 0 to 1."""
        return self.top[0][1]


def predict(
    model: AdaptedModel, images: Image | Iterable[Image], *, top: int = 1, batch_size: int = BATCH_SIZE
) -> Iterator[Prediction]:
    """Classify images with what `load_ticket` gave, on the model's device, one `Prediction` after another, in order.

    Args:
        images: paths or URLs of images, or of folders, which are searched through; or uint8 arrays (H, W, 3).
        top: how many classes to name of each image.

    Raises:
        ValueError: a model that no ticket gave, `top` or `batch_size` below 1, or, with the image's name (`BadData`),
            an image that is missing or broken: at once where a look into folders shows it, else when it is reached.
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
        likeliest = logits.sort(dim=1, descending=True, stable=True).indices[:, :top]  # of equals the first
        probabilities = logits.softmax(1).gather(1, likeliest)
        for item, values, indices in zip(batch, probabilities.tolist(), likeliest.tolist(), strict=True):
            named = ((model.classes[index], value) for index, value in zip(indices, values, strict=True))
            yield Prediction(image=item.where, top=tuple(named))


def _resize(transform: Transform) -> Resize:
    return Resize(size=transform.size, interpolation=transform.interpolation, crop_fraction=transform.crop_fraction)
