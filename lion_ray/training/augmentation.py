"""Augmentation of training images (`train.augment`). It works on uint8 batches on the training device.

`flip` mirrors half of the images. `crop_flip` adds a random square window of 224/256 of the side (77 % of the area),
scaled back bilinearly. VPT's code does the same for FGVC (short side to 256, crop 224); here the image has the
backbone's size already. `none` is the practice on VTAB-1k. `randaugment` adds two of torchvision's operations per image
at magnitude 9 of 30 (Cubuk et al., 2020).

A draw depends only on the seed and the index of the image, and the seed only on experiment and epoch. So a draw does
not depend on the batch, on the number of workers or on earlier runs, and an image gets the same draw in the same epoch
of every round. `lion_ray.training.batches` calls `augmented`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as F

CROP = 224 / 256
NUM_OPERATIONS = 2
FRACTION = 9 / 30  # magnitude 9 of torchvision's 31
_FLIP, _LEFT, _TOP, _OPERATIONS = 0, 1, 2, 3  # columns of the draws; each operation uses two

Operation = Callable[[Tensor, float], Tensor]


def augmented(images: Tensor, rows: Tensor, policy: str, seed: int) -> Tensor:
    """A random view of each image.

    Args:
        images: (B, S, S, 3) uint8.
        rows: (B,) indices of the images in their split.
        policy: `none`, `flip`, `crop_flip` or `randaugment`.
        seed: the seed of the epoch.

    Returns:
        (B, S, S, 3) uint8 on the device of `images`.
    """
    if policy == "none":
        return images
    draws = uniform(seed, rows.cpu().numpy(), _OPERATIONS + 2 * NUM_OPERATIONS)
    pixels = images.permute(0, 3, 1, 2)
    pixels = _flipped(pixels, draws) if policy == "flip" else _cropped(pixels, draws)
    if policy == "randaugment":
        for first in range(_OPERATIONS, draws.shape[1], 2):
            pixels = _operated(pixels, draws[:, first], draws[:, first + 1])
    return pixels.permute(0, 2, 3, 1)


def uniform(seed: int, rows: np.ndarray, num: int) -> np.ndarray:
    """Draws in [0, 1), the same on every machine: SplitMix64 of seed, row and column.

    Args:
        seed: any integer.
        rows: (B,) indices of images.
        num: the number of draws per image.

    Returns:
        (B, num) float64.
    """
    with np.errstate(over="ignore"):
        key = _mixed(np.uint64(seed % 2**64) + _mixed(rows.astype(np.uint64)))
        bits: np.ndarray = _mixed(key[:, None] + np.arange(1, num + 1, dtype=np.uint64)) >> np.uint64(11)
    draws: np.ndarray = bits * 2.0**-53
    return draws


def _mixed(state: np.ndarray) -> np.ndarray:
    """The output of SplitMix64 (Steele, Lea, Flood, 2014) for each state, uint64."""
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = state ^ (state >> np.uint64(31))
    return mixed


def _on(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(values).to(like.device)


def _flipped(pixels: Tensor, draws: np.ndarray) -> Tensor:
    is_flipped = _on(draws[:, _FLIP] < 0.5, pixels)
    return torch.where(is_flipped[:, None, None, None], pixels.flip(3), pixels)


def _cropped(pixels: Tensor, draws: np.ndarray) -> Tensor:
    """A random window that lies inside the image. A flip reads the window from right to left."""
    sign = np.where(draws[:, _FLIP] < 0.5, -1.0, 1.0)
    x, y = ((2 * draws[:, column] - 1) * (1 - CROP) for column in (_LEFT, _TOP))
    theta = np.zeros((len(draws), 2, 3), dtype=np.float32)
    theta[:, 0, 0], theta[:, 0, 2], theta[:, 1, 1], theta[:, 1, 2] = CROP * sign, x, CROP, y
    grid = nn.functional.affine_grid(_on(theta, pixels), list(pixels.shape), align_corners=False)
    window = nn.functional.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return window.round().to(torch.uint8)


def _operated(pixels: Tensor, which: np.ndarray, sign: np.ndarray) -> Tensor:
    """Apply to each image the operation that it drew. Images with the same operation and sign are one batch."""
    codes = np.floor(which * len(OPERATIONS)).astype(np.int64) * 2 + (sign < 0.5)
    out = pixels.clone()
    for code in np.unique(codes).tolist():
        (rows,) = np.nonzero(codes == code)
        selected = _on(rows, pixels)
        operation = list(OPERATIONS.values())[code // 2]
        out[selected] = operation(pixels[selected], -FRACTION if code % 2 else FRACTION)
    return out


def _sheared(pixels: Tensor, amount: float, *, axis: int) -> Tensor:
    shear = [0.0, 0.0]
    shear[axis] = math.degrees(math.atan(0.3 * amount))
    out: Tensor = F.affine(pixels, angle=0.0, translate=[0, 0], scale=1.0, shear=shear, center=[0, 0])
    return out


def _translated(pixels: Tensor, amount: float, *, axis: int) -> Tensor:
    translate = [0, 0]
    translate[axis] = int(150 / 331 * pixels.shape[-1] * amount)
    out: Tensor = F.affine(pixels, angle=0.0, translate=translate, scale=1.0, shear=[0.0, 0.0])
    return out


def _contrasted(pixels: Tensor, amount: float) -> Tensor:
    """`F.adjust_contrast` with an exact mean of each image, so that the result does not depend on the batch."""
    grey = F.rgb_to_grayscale(pixels).flatten(1)
    mean = (grey.sum(1, dtype=torch.int64).double() / grey.shape[1]).float()[:, None, None, None]
    factor = 1 + 0.9 * amount
    out: Tensor = (pixels * factor + mean * (1 - factor)).clamp(0, 255).to(torch.uint8)
    return out


OPERATIONS: dict[str, Operation] = {
    "Identity": lambda pixels, _: pixels,
    "ShearX": partial(_sheared, axis=0),
    "ShearY": partial(_sheared, axis=1),
    "TranslateX": partial(_translated, axis=0),
    "TranslateY": partial(_translated, axis=1),
    "Rotate": lambda pixels, amount: F.rotate(pixels, 30 * amount),
    "Brightness": lambda pixels, amount: F.adjust_brightness(pixels, 1 + 0.9 * amount),
    "Color": lambda pixels, amount: F.adjust_saturation(pixels, 1 + 0.9 * amount),
    "Contrast": _contrasted,
    "Sharpness": lambda pixels, amount: F.adjust_sharpness(pixels, 1 + 0.9 * amount),
    "Posterize": lambda pixels, amount: F.posterize(pixels, 8 - round(4 * abs(amount))),
    "Solarize": lambda pixels, amount: F.solarize(pixels, 255 * (1 - abs(amount))),
    "AutoContrast": lambda pixels, _: F.autocontrast(pixels),
    "Equalize": lambda pixels, _: F.equalize(pixels),
}
