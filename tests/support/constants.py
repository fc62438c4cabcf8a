"""A ticket beside what it has to equal: the same model whose pruned entries are constants and no parameters at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from lion_ray import backbones, methods
from lion_ray.config import BackboneConfig, MethodConfig, TrainConfig
from lion_ray.implicit import Cell
from lion_ray.implicit.projection import project_
from lion_ray.lottery import Checkpointer, Mask, NoCheckpoints, TrainState
from lion_ray.methods import AdaptedModel
from lion_ray.training import loop
from lion_ray.training.batches import Examples
from lion_ray.training.workers import SingleWorker

Entry = Mapping[str, object]
"""A method entry of a study."""

CONVNET, VIT = "test_resnet", "test_vit"
SIZE, NUM_IMAGES = 32, 12
CPU = torch.device("cpu")


class Fitted(loop.FitResult):
    """What a round left, and the weights it left in the model."""

    weights: Mapping[str, Tensor]


def model_of(method: Entry, backbone: str) -> AdaptedModel:
    """A small model with random weights, its zeros at the start replaced: everything acts from the first step on."""
    chosen = backbones.sketch(BackboneConfig(name=backbone, weights="random", image_size=SIZE))
    model = methods.build(MethodConfig.model_validate(method), chosen, num_classes=3, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.trained().values():
            if not bool(parameter.any()):
                parameter.normal_(0.0, 0.05, generator=generator)
    return model


def sparse_mask(model: AdaptedModel, density: float = 0.4) -> Mask:
    """Drawn weight by weight."""
    generator, weights = torch.Generator().manual_seed(2), model.trained()
    return Mask(
        alive={name: torch.rand(weights[name].shape, generator=generator) < density for name in model.prunable()}
    )


def moments(weights: Mapping[str, Tensor], optimizer: str) -> dict[str, Tensor]:
    """An optimizer's state somewhere in the middle of a training: where late rewinding starts from."""
    generator = torch.Generator().manual_seed(3)

    def drawn(weight: Tensor) -> Tensor:
        return torch.rand(weight.shape, generator=generator) * 1e-3

    if optimizer == "sgd":
        return {f"{name}/momentum_buffer": drawn(weight) for name, weight in weights.items()}
    state = {f"{name}/{key}": drawn(weight) for name, weight in weights.items() for key in ("exp_avg", "exp_avg_sq")}
    return state | {f"{name}/step": torch.tensor(7.0) for name in weights}


def poisoned(point: TrainState, mask: Mask) -> TrainState:
    """The point with values that must not matter in every dead entry."""

    def with_junk(name: str, tensor: Tensor) -> Tensor:
        entry = mask.alive.get(name)
        return tensor if entry is None or tensor.shape != entry.shape else torch.where(entry, tensor, 1e9)

    return TrainState(
        weights={name: with_junk(name, weight) for name, weight in point.weights.items()},
        optimizer={key: with_junk(key.rpartition("/")[0], state) for key, state in point.optimizer.items()},
        epoch=point.epoch,
    )


class Survivors(nn.Module):
    """A parametrization: the living entries (n,) in a tensor of zeros, laid out in memory like `weight`."""

    def __init__(self, alive: Tensor, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("alive", alive)
        self.register_buffer("zeros", torch.zeros_like(weight))  # a convolution's bits depend on the layout

    def forward(self, survivors: Tensor) -> Tensor:
        """The whole tensor."""
        zeros = self.get_buffer("zeros")
        return zeros.clone().copy_(zeros.masked_scatter(self.get_buffer("alive"), survivors))

    def right_inverse(self, whole: Tensor) -> Tensor:
        """The survivors of it."""
        return whole[self.get_buffer("alive")]


def with_constants(model: AdaptedModel, mask: Mask) -> dict[str, str]:
    """Make pruned entries of `model` constants, in place; the new names of its trained tensors by the old ones."""
    names = {name: name for name in model.trained()}
    for name, alive in mask.alive.items():
        place, _, leaf = name.rpartition(".")
        register_parametrization(model.get_submodule(place), leaf, Survivors(alive, model.get_parameter(name)))
        names[name] = f"{place}.parametrizations.{leaf}.original"
    bounded = [
        (f"{name}.W", module, layer.gamma)
        for layer in model.modules()
        if hasattr(layer, "gamma")
        for name, module in model.named_modules()
        if isinstance(module, Cell) and module in set(layer.modules())
    ]

    def project() -> None:
        for name, cell, gamma in bounded:
            if name in mask.alive:
                whole = SimpleNamespace(W=cell.W.detach().clone())
                project_(whole, gamma)  # type: ignore[arg-type]
                model.trained()[names[name]].data.copy_(whole.W[mask.alive[name]])

    model.project_ = project  # type: ignore[method-assign]
    return names


def survivors_of(point: TrainState, mask: Mask, names: Mapping[str, str]) -> TrainState:
    """The point of the model `with_constants`."""

    def living(name: str, tensor: Tensor) -> Tensor:
        entry = mask.alive.get(name)
        return tensor if entry is None or tensor.shape != entry.shape else tensor[entry]

    optimizer = {}
    for key, state in point.optimizer.items():
        name, _, kind = key.rpartition("/")
        optimizer[f"{names[name]}/{kind}"] = living(name, state)
    weights = {names[name]: living(name, weight) for name, weight in point.weights.items()}
    return TrainState(weights=weights, optimizer=optimizer, epoch=point.epoch)


def fit(
    model: AdaptedModel, config: TrainConfig, point: TrainState, mask: Mask, checkpointer: Checkpointer | None = None
) -> Fitted:
    """A round on a few random images; |g ⊙ w| is measured in its last epoch."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(NUM_IMAGES, 3, SIZE, SIZE, generator=generator)
    with torch.no_grad():
        inputs = model.body(images) if model.features_are_fixed else images
    examples = Examples(
        split=None, features=inputs, labels=torch.arange(NUM_IMAGES) % 3, transform=model.body.backbone.transform
    )
    found = loop.fit(
        model,
        methods.step_module(model),
        (examples, None),
        config,
        state=point,
        mask=mask,
        keep=loop.KeptStates(scores=True),
        checkpointer=checkpointer or NoCheckpoints(),
        seed_for=len,
        workers=SingleWorker(),
        on_epoch=lambda _: None,
    )
    made = Fitted(**{field.name: getattr(found, field.name) for field in dataclasses.fields(found)})
    object.__setattr__(made, "weights", model.copy_trained())
    return made
