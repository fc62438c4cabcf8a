"""What a finished round is told by beside its accuracy: trained parameters, and what it gives with its prompts off.

`trial` calls it at a round's end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import torch
from torch import Tensor

from lion_ray.config import TrainConfig
from lion_ray.lottery import Mask
from lion_ray.methods import AdaptedModel
from lion_ray.training import loop
from lion_ray.training.batches import Examples
from lion_ray.training.workers import Workers


def num_params(trained: Mapping[str, Tensor], mask: Mask, acting: Mapping[str, Tensor]) -> dict[str, int]:
    """Trained parameters with and without the classifier: all that survive, and those of them that can act.

    Args:
        acting: as `AdaptedModel.acting` gives it.
    """
    counts = {"num_params": 0, "num_acting_params": 0}
    for name, weight in trained.items():
        survivors = mask.alive.get(name, torch.ones(weight.shape, dtype=torch.bool))
        counts["num_params"] += int(survivors.sum())
        counts["num_acting_params"] += int((survivors & acting[name]).sum() if name in acting else survivors.sum())
    classifier = sum(weight.numel() for name, weight in trained.items() if name.startswith("head.classifier."))
    return counts | {f"{name}_without_classifier": count - classifier for name, count in counts.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SwitchedOff:
    """The frozen model with the trained classifier, and the splits as it reads them; None is a split not to be seen."""

    model: AdaptedModel
    val: Examples | None
    test: Examples | None


def accuracies_without_prompts(
    off: SwitchedOff | None, config: TrainConfig, workers: Workers
) -> tuple[float | None, float | None]:
    """Val and test accuracy with both prompts off; None where a split is not to be seen, or no prompt can be off."""

    def accuracy(model: AdaptedModel, examples: Examples | None) -> float | None:
        return None if examples is None else loop.evaluate(model, examples, config, workers)[0]

    return (None, None) if off is None else (accuracy(off.model, off.val), accuracy(off.model, off.test))
