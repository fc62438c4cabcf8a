"""What a backbone wants of its images, as a value, and the one place where pixels become its input."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform:
    """What a backbone wants of its images: a square of `size` pixels, then `(x / 255 - mean) / std` per channel."""

    size: int
    interpolation: str
    crop_fraction: float | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def normalised(self, images: np.ndarray, device: torch.device) -> Tensor:
        """uint8 (B, S, S, 3) to `(x / 255 - mean) / std`, float32 (B, 3, S, S) in channels_last order."""
        return self.of_pixels(torch.from_numpy(images).to(device))

    def of_pixels(self, images: Tensor) -> Tensor:
        """The same of a tensor, on its device."""
        pixels = images.permute(0, 3, 1, 2).float()
        mean, std = _constants(self, images.device)
        return (pixels - mean) / std


@functools.cache
def _constants(transform: Transform, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and std of the pixels, there once: to send them with every batch would make the host wait for a device."""
    with torch.inference_mode(False):
        mean, std = (
            torch.tensor(value, device=device).view(1, 3, 1, 1) * 255 for value in (transform.mean, transform.std)
        )
    return mean, std
