"""How the weights move in one round: optimizer, schedule, robust split, mask and bound, in every step.

A pruned weight takes no part: it is 0 and has no moment when the round starts, its gradient is taken away before
anything reads it, and the bound comes after the mask. So a ticket trains as if its pruned entries were constants.

`training` takes its steps here. The optimizer's state is plain tensors by name, so that a later round can go on from a
state: what `state_of` gives is kept by `stored_rounds` and put back by `restore`. Nothing is pickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lion_ray.config import TrainConfig
from lion_ray.lottery import DeadEntries, Mask, RobustSteps, Sensitivity, TrainState
from lion_ray.methods import AdaptedModel, contiguous_copy


def make_optimizer(model: AdaptedModel, config: TrainConfig) -> torch.optim.Optimizer:
    """A fresh optimizer over the trained tensors."""
    groups = model.parameter_groups(config.lr)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, weight_decay=config.weight_decay)


def learning_rate_factor(step: int, num_steps: int, config: TrainConfig) -> float:
    """Linear warm-up over `warmup_epochs`, then the schedule, as a share of `lr`."""
    warmup = round(config.warmup_epochs / config.epochs * num_steps)
    if step < warmup:
        return (step + 1) / warmup
    if config.schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup)))


def state_of(optimizer: torch.optim.Optimizer, model: AdaptedModel) -> dict[str, Tensor]:
    """A copy of the optimizer's tensors on the CPU, as `<weight>/<state>`: moments and step counts."""
    return {
        f"{name}/{key}": contiguous_copy(value)
        for name, parameter in model.trained().items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def restore(optimizer: torch.optim.Optimizer, model: AdaptedModel, state: Mapping[str, Tensor]) -> None:
    """Put back what `state_of` gave; an empty state leaves the optimizer fresh."""
    trained = model.trained()
    for name, tensor in state.items():
        weight, _, key = name.rpartition("/")
        parameter = trained[weight]
        is_count = tensor.shape != parameter.shape  # of steps: stays on the CPU
        kept = tensor.clone() if is_count else torch.empty_like(parameter, requires_grad=False).copy_(tensor)
        optimizer.state[parameter][key] = kept  # in the weight's layout, as a fresh one: the bits depend on it


class OptimizerStepper:
    """Every step of one round: the schedule's rate, the optimizer or its robust form, the mask, the bound."""

    def __init__(
        self, model: AdaptedModel, config: TrainConfig, state: TrainState, mask: Mask, *, first: int | None = None
    ) -> None:
        """Of a `model` that stands at `state` already.

        Args:
            state: under the mask (`TrainState.under`).
            mask: on the model's device.
            first: the round's first epoch, where `state` lies behind it: an interrupted round goes on there.
        """
        self._model, self._config = model, config
        self._first = state.epoch if first is None else first
        weights = model.trained()
        self._dead = DeadEntries(mask, weights)
        self._prunable = {name: weights[name] for name in mask.alive}
        self._optimizer = make_optimizer(model, config)
        self._base_rates = [group["lr"] for group in self._optimizer.param_groups]
        restore(self._optimizer, model, state.optimizer)
        self._robust = RobustSteps(config.robust, self._prunable, mask) if config.robust and mask.alive else None
        self._splits = False
        self._sensitivity: Sensitivity | None = None

    def begin_epoch(self, epoch: int, *, measure: bool) -> None:
        """Whether this epoch splits weights into critical ones and others, and whether |g ⊙ w| is summed in it."""
        self._splits = self._config.robust is not None and epoch >= self._first + self._config.robust.warmup_epochs
        self._sensitivity = Sensitivity(self._prunable) if measure else None

    def set_rate(self, step: int, num_steps: int) -> None:
        """The rate of `step` in a schedule of `num_steps`."""
        for group, rate in zip(self._optimizer.param_groups, self._base_rates, strict=True):
            group["lr"] = rate * learning_rate_factor(step, num_steps, self._config)

    def take(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`; afterwards pruned weights are exactly 0 and the bound holds."""
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._dead.zero_gradients_()
        if self._sensitivity:
            self._sensitivity.add()
        if self._splits and self._robust:
            self._robust.step(self._optimizer)
        else:
            self._optimizer.step()
        self._dead.zero_()
        self._model.project_()

    def state(self, epoch: int) -> TrainState:
        """The state after `epoch` epochs, as a later round may start from it."""
        return TrainState(
            weights=self._model.copy_trained(), optimizer=state_of(self._optimizer, self._model), epoch=epoch
        )

    def scores(self) -> dict[str, Tensor]:
        """What the last epoch summed up, if it was measured."""
        return self._sensitivity.scores() if self._sensitivity else {}
