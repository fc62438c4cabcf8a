"""Measurements of a finished round: its trained parameters, and its accuracies with LION's prompts switched off.

`lion_ray.trial.trainer` calls it at the end of each round.
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
    """The numbers of surviving and of acting trained parameters, each with and without the classifier.

    Args:
        trained: all trained tensors by name.
        mask: the mask of the round.
        acting: boolean tensors of `AdaptedModel.acting`: the weights on a path from input to output. A weight without
            an entry always acts.

    Returns:
        The counts under the names of the fields of `RoundMetrics`.
    """
    counts = {"num_params": 0, "num_acting_params": 0}
    for name, weight in trained.items():
        survivors = mask.alive.get(name, torch.ones(weight.shape, dtype=torch.bool))
        counts["num_params"] += int(survivors.sum())
        counts["num_acting_params"] += int((survivors & acting[name]).sum() if name in acting else survivors.sum())
    classifier = sum(weight.numel() for name, weight in trained.items() if name.startswith("head.classifier."))
    return counts | {f"{name}_without_classifier": count - classifier for name, count in counts.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelWithoutPrompts:
    """The frozen model with the trained classifier, and its examples. None stands for a split that must not be seen."""

    model: AdaptedModel
    val: Examples | None
    test: Examples | None


def accuracies_without_prompts(
    without_prompts: ModelWithoutPrompts | None, config: TrainConfig, workers: Workers
) -> tuple[float | None, float | None]:
    """The val and the test accuracy (0 to 1) with both prompts switched off.

    Args:
        without_prompts: the model and its examples; None for a method whose prompts cannot be switched off.
        config: the `train` section.
        workers: the workers that share the examples.

    Returns:
        An accuracy is None if the split must not be seen or there is no such model.
    """

    def accuracy(model: AdaptedModel, examples: Examples | None) -> float | None:
        return None if examples is None else loop.evaluate(model, examples, config, workers)[0]

    if without_prompts is None:
        return None, None
    model = without_prompts.model
    return accuracy(model, without_prompts.val), accuracy(model, without_prompts.test)
