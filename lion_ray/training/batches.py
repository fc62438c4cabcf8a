"""A split as the trained part reads it, batch by batch: pixels gathered ahead, the rest on the training device.

`training` reads through this and knows neither where the pixels are kept nor whether features are. The uint8 pixels of
the next batches are read in a thread (in pinned memory for CUDA) while the device works on this one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lion_ray.backbones import Transform
from lion_ray.data import Split, prefetch
from lion_ray.methods import AdaptedModel
from lion_ray.training.augmentation import augmented

EVALUATION_BATCH = 100
LIMIT_BYTES = 512 * 2**20
"""Of fixed features of one split; more are made anew on each pass."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """What the trained part reads of one split: images, or features (N, D) where those are fixed; labels (N,).

    Args:
        split: None where all `features` are kept.
        body: makes the features on the way where they are fixed but not kept.
        augment: a policy of `augmentation`, for `batches`.
    """

    split: Split | None
    features: Tensor | None
    labels: Tensor
    transform: Transform
    body: nn.Module | None = None
    augment: str = "none"

    def batches(self, batches: Sequence[Tensor], seed: int) -> Iterator[Tensor]:
        """The inputs of each of the `batches` of rows, augmented as `seed` says, on the labels' device."""
        if self.features is not None:
            yield from (self.features[self._moved(rows)] for rows in batches)
            return
        split = self._split
        gathered = prefetch(self._host(split.gather(rows.numpy())) for rows in batches)
        for rows, pixels in zip(batches, gathered, strict=True):
            yield self._inputs(augmented(self._moved(pixels), rows, self.augment, seed))

    def in_order(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """`rows` (ascending) in chunks, each with its inputs as they are evaluated: never augmented."""
        chunks = torch.split(rows, EVALUATION_BATCH) if len(rows) else ()
        if self.features is not None:
            yield from ((chunk, self.features[self._moved(chunk)]) for chunk in chunks)
            return
        decoded = self._split.chunks(rows.numpy(), EVALUATION_BATCH, num_threads=torch.get_num_threads())
        for chunk, pixels in zip(chunks, self._ahead(decoded), strict=True):
            yield chunk, self._inputs(self._moved(pixels))

    @property
    def _split(self) -> Split:
        assert self.split is not None
        return self.split

    def _ahead(self, pixels: Iterable[np.ndarray]) -> Iterator[Tensor]:
        return prefetch(map(self._host, pixels))

    def _host(self, pixels: np.ndarray) -> Tensor:
        """Still on the host, ready to be copied."""
        tensor = torch.from_numpy(pixels)
        return tensor.pin_memory() if self.labels.device.type == "cuda" else tensor

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the labels' device; what the device still computes is not waited for."""
        return tensor.to(self.labels.device, non_blocking=True)

    def _inputs(self, pixels: Tensor) -> Tensor:
        inputs = self.transform.of_pixels(pixels)
        if self.body is None:
            return inputs
        with torch.no_grad():
            features: Tensor = self.body(inputs)
        return features


def prepare(
    model: AdaptedModel, split: Split, transform: Transform, device: torch.device, *, augment: str = "none"
) -> Examples:
    """A split as the model's trained part reads it; fixed features are computed here, once, if they are kept."""
    examples = Examples(
        split=split,
        features=None,
        labels=torch.tensor(split.labels, device=device),
        transform=transform,
        body=model.body if model.features_are_fixed else None,
        augment=augment,
    )
    if not keeps_features(model, split, augment):
        return examples
    features = torch.empty(len(split), model.body.num_outputs, device=device)
    for rows, made in examples.in_order(torch.arange(len(split))):
        features[examples._moved(rows)] = made
    return dataclasses.replace(examples, split=None, body=None, features=features)


def keeps_features(model: AdaptedModel, split: Split, augment: str = "none") -> bool:
    """Whether features are computed once: the body is fixed, every pass sees the same images, and they are few enough.

    How much memory there is for images does not matter, so it changes no result.
    """
    num_bytes = 4 * len(split) * model.body.num_outputs
    return model.features_are_fixed and augment == "none" and num_bytes <= LIMIT_BYTES
