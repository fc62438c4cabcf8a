"""Batches of a split, as the trained part of a model reads them.

`lion_ray.training.loop` reads images or cached features through `Examples`. A background thread gathers the uint8
pixels of the next batches (in pinned memory for CUDA) while the device works on the current one. Augmentation,
transform and a frozen body run on the training device.
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
"""The largest size of one split's features that are kept. Larger features are computed again on each pass."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Examples:
    """The inputs of a model's trained part for one split: images, or features of a frozen body.

    Args:
        split: the images; None if all `features` are kept.
        features: (N, D); None if they are not kept.
        labels: (N,) int64 on the training device.
        transform: converts uint8 pixels to the backbone's input.
        body: computes features of each batch if they are fixed but not kept; None otherwise.
        augment: the policy of `lion_ray.training.augmentation` that `batches` applies.
    """

    split: Split | None
    features: Tensor | None
    labels: Tensor
    transform: Transform
    body: nn.Module | None = None
    augment: str = "none"

    def batches(self, batches: Sequence[Tensor], seed: int) -> Iterator[Tensor]:
        """The inputs of each batch of rows, augmented with `seed`, on the device of the labels."""
        if self.features is not None:
            yield from (self.features[self._moved(rows)] for rows in batches)
            return
        split = self._split
        gathered = prefetch(self._host(split.gather(rows.numpy())) for rows in batches)
        for rows, pixels in zip(batches, gathered, strict=True):
            yield self._inputs(augmented(self._moved(pixels), rows, self.augment, seed))

    def in_order(self, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Chunks of `rows` (ascending), each with its inputs for evaluation, which are never augmented."""
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
        """The pixels as a tensor in host memory, pinned if the device is a GPU."""
        tensor = torch.from_numpy(pixels)
        return tensor.pin_memory() if self.labels.device.type == "cuda" else tensor

    def _moved(self, tensor: Tensor) -> Tensor:
        """The tensor on the device of the labels. The copy does not wait for the device."""
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
    """The examples of a split for a model's trained part. Features that are kept are computed here, once.

    Args:
        model: the model, on `device`.
        split: the images.
        transform: the transform of the backbone.
        device: the training device.
        augment: the augmentation policy of `train.augment`.
    """
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
    for rows, computed in examples.in_order(torch.arange(len(split))):
        features[examples._moved(rows)] = computed
    return dataclasses.replace(examples, split=None, body=None, features=features)


def keeps_features(model: AdaptedModel, split: Split, augment: str = "none") -> bool:
    """Whether the features of a split are computed once and kept.

    The body must be frozen, every pass must see the same images, and the features must fit into `LIMIT_BYTES`. The
    memory of the machine has no influence, so it changes no result.

    Args:
        model: the model.
        split: the images.
        augment: the augmentation policy.
    """
    num_bytes = 4 * len(split) * model.body.num_outputs
    return model.features_are_fixed and augment == "none" and num_bytes <= LIMIT_BYTES
