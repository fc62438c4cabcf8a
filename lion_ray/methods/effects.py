"""Whether every trained tensor can change the output: a number that cannot is trained, stored and counted for nothing.

Asked at a random point of all trained tensors, since at the start zeros hide others (`V`, LoRA's `B`). One gradient
finds the suspects, those that matter next to nothing beside the others: exact zeros, and tensors whose effect a later
normalisation undoes but for its epsilon. A suspect is then changed alone, in double precision and on several images,
by up to a million times its size: what acts at all, if ever so little, answers to that. A change is in the
positive direction, as a scale that crosses zero flips the sign of what it scales. Called by `checking`.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lion_ray.backbones import clear_caches, drawn_images
from lion_ray.methods.foreign import Failed, border
from lion_ray.methods.model import AdaptedModel

LOGGER = logging.getLogger(__name__)
DISPLACEMENT = 0.1  # of a tensor's size; a tensor of zeros counts as of size 1
SUSPICIOUS = 1e-5  # of the median tensor's effect: what acts on a specimen seldom has less than 1e-4 of it
CHANGES = (1e3, 1.0, 1e6)  # of a tensor's size; the last for what a random network hardly hears
ANSWER = 1e-5  # of the logits' size; rounding is below 1e-9, what an epsilon leaves below 1e-7
NUM_IMAGES = 2  # a unit that is silent on one image need not be on another


@torch.no_grad()
def displace_(model: AdaptedModel) -> None:
    """Move all trained tensors to a random point near where they are, inside their bounds."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.trained().values():
        drawn = torch.empty(parameter.shape).uniform_(-1, 1, generator=generator)
        parameter.add_(drawn, alpha=DISPLACEMENT * _size(parameter))
    model.project_()


def projected(logits: Tensor) -> Tensor:
    """A random direction of the logits (B, classes), relative to their size: a loss that never saturates."""
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))
    return torch.sum(logits * direction / logits.detach().norm().clamp_min(1e-30))


def suspects(trained: Mapping[str, Tensor]) -> list[str]:
    """The tensors whose gradients, as `projected` left them, say that they matter next to nothing, least first."""
    effects = {name: _effect(parameter) for name, parameter in trained.items()}
    typical = sorted(effects.values())[len(effects) // 2]
    return sorted((name for name in effects if not effects[name] > SUSPICIOUS * typical), key=effects.__getitem__)


@torch.no_grad()
def inert(model: AdaptedModel, names: Sequence[str], size: int) -> list[str]:
    """Which of the trained tensors `names` cannot change the logits of images (B, 3, `size`, `size`).

    A model that cannot be run in double precision is given the benefit of the doubt.
    """
    if not names:
        return []
    images = drawn_images(NUM_IMAGES, size).double()
    clear_caches(model)
    try:
        with border():
            exact = copy.deepcopy(model).double()
            before = exact(images)
    except Failed:
        LOGGER.debug("not in double precision", exc_info=True)
        return []
    return _inert(exact, names, images, before)


def _inert(model: AdaptedModel, names: Sequence[str], images: Tensor, before: Tensor) -> list[str]:
    """By halves: tensors that change nothing together change nothing alone, and mostly all or few are inert."""
    if not _acts(model, names, images, before):
        return list(names)
    if len(names) == 1:
        return []
    half = len(names) // 2
    return [found for part in (names[:half], names[half:]) for found in _inert(model, part, images, before)]


def _acts(model: AdaptedModel, names: Sequence[str], images: Tensor, before: Tensor) -> bool:
    generator = torch.Generator().manual_seed(4)
    trained = model.trained()
    kept = {name: trained[name].clone() for name in names}
    for times in CHANGES:
        for name in names:
            by = times * _size(kept[name])
            trained[name].copy_(kept[name] + by * torch.randn(kept[name].shape, generator=generator).abs())
        model.project_()
        after = model(images)
        for name in names:
            trained[name].copy_(kept[name])
        if not (after - before).abs().amax() <= ANSWER * before.abs().amax():  # what is not finite has changed
            return True
    return False


def _effect(parameter: Tensor) -> float:
    """How much of the projected logits a change of the tensor by its own size is worth."""
    gradient = parameter.grad
    return 0.0 if gradient is None else float(gradient.norm()) * _size(parameter)


def _size(parameter: Tensor) -> float:
    """Root of the mean square; of a tensor of zeros, whose use tells its size, 1."""
    size = float(parameter.detach().square().mean().sqrt())
    return size if size > 1e-3 else 1.0
