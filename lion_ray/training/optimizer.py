"""The optimizer steps of one round: learning rate, robust training, mask and bound.

A pruned weight takes no part in training. It is 0 and has no moment when the round starts, its gradient is set to 0
before anything reads it, and after each step the mask is applied before the bound. So a ticket trains as if its pruned
entries were constants.

`lion_ray.training.loop` takes its steps here. The optimizer's state is plain tensors by name: `state_of` reads them,
`lion_ray.trial.stored_rounds` stores them, and `restore` puts them back. Nothing is pickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lion_ray.config import TrainConfig
from lion_ray.lottery import Mask, PrunedEntries, RobustSteps, Sensitivity, TrainState
from lion_ray.methods import AdaptedModel, contiguous_copy


def make_optimizer(model: AdaptedModel, config: TrainConfig) -> torch.optim.Optimizer:
    """A fresh optimizer over the trained tensors of the model."""
    groups = model.parameter_groups(config.lr)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, weight_decay=config.weight_decay)


def learning_rate_factor(step: int, num_steps: int, config: TrainConfig) -> float:
    """The learning rate of a step as a share of `lr`: a linear warm-up over `warmup_epochs`, then the schedule.

    Args:
        step: the step, from 0.
        num_steps: the number of steps of the whole schedule.
        config: the `train` section.
    """
    warmup = round(config.warmup_epochs / config.epochs * num_steps)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup)))


def state_of(optimizer: torch.optim.Optimizer, model: AdaptedModel) -> dict[str, Tensor]:
    """A copy on the CPU of the optimizer's moments and step counts. The keys are `<weight>/<state>`."""
    return {
        f"{name}/{key}": contiguous_copy(value)
        for name, parameter in model.trained().items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore(optimizer: torch.optim.Optimizer, model: AdaptedModel, state: Mapping[str, Tensor]) -> None:
    """Put the tensors of `state_of` back into an optimizer.

    Args:
        optimizer: a fresh optimizer of `model`.
        model: the model.
        state: the tensors; an empty state leaves the optimizer fresh.
    """
    trained = model.trained()
    for name, tensor in state.items():
        weight, _, key = name.rpartition("/")
        parameter = trained[weight]
        is_count = tensor.shape != parameter.shape  # a step count stays on the CPU
        restored = tensor.clone() if is_count else torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        optimizer.state[parameter][key] = restored  # in the memory layout of the weight, on which the bits depend


class OptimizerStepper:
    """Takes every step of one round: learning rate, ordinary or robust optimizer step, mask and bound."""

    def __init__(
        self, model: AdaptedModel, config: TrainConfig, state: TrainState, mask: Mask, *, first: int | None = None
    ) -> None:
        """Prepare the steps of a model that holds the weights of `state` already.

        Args:
            model: the model.
            config: the `train` section.
            state: the state to start from, with the mask applied (`TrainState.under`).
            mask: the mask of the round, on the model's device.
            first: the first epoch of the round if it continues from a checkpoint; None if the round starts at `state`.
        """
        self._model, self._config = model, config
        self._first = state.epoch if first is None else first
        weights = model.trained()
        self._pruned = PrunedEntries(mask, weights)
        self._prunable = {name: weights[name] for name in mask.alive}
        self._optimizer = make_optimizer(model, config)
        self._base_rates = [group["lr"] for group in self._optimizer.param_groups]
        restore(self._optimizer, model, state.optimizer)
        self._robust = RobustSteps(config.robust, self._prunable, mask) if config.robust and mask.alive else None
        self._is_robust_epoch = False
        self._sensitivity: Sensitivity | None = None

    def begin_epoch(self, epoch: int, *, measure: bool) -> None:
        """Begin an epoch: robust training applies after the warm-up, and with `measure` |g ⊙ w| is summed."""
        robust = self._config.robust
        self._is_robust_epoch = robust is not None and epoch >= self._first + robust.warmup_epochs
        self._sensitivity = Sensitivity(self._prunable) if measure else None

    def set_rate(self, step: int, num_steps: int) -> None:
        """Set the learning rate of `step` in a schedule of `num_steps`."""
        for group, rate in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * learning_rate_factor(step, num_steps, self._config)

    def take(self, loss: Tensor) -> None:
        """Take one step against the gradient of `loss`. Afterwards pruned weights are exactly 0 and the bound holds."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._pruned.zero_gradients_()
        if self._sensitivity:
            self._sensitivity.add()
        if self._is_robust_epoch and self._robust:
            self._robust.step(self._optimizer)
        else:
            self._optimizer.step()
        self._pruned.zero_()
        self._model.project_()

    def state(self, epoch: int) -> TrainState:
        """A copy of the current state, which is the one after `epoch` epochs."""
        return TrainState(
            weights=self._model.copy_trained(), optimizer=state_of(self._optimizer, self._model), epoch=epoch
        )

    def scores(self) -> dict[str, Tensor]:
        """The sums of |g ⊙ w| in the last epoch; empty if it was not measured."""
        return self._sensitivity.scores() if self._sensitivity else {}
