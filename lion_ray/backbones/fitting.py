"""A checkpoint in the names and shapes of a timm model, by the same steps that timm takes with its hub's.

What fits as it is, is taken as it is. Otherwise timm's own loader has it: the model's filter of foreign names, and
position embeddings and patches resampled to the model's grid. The classifier is no part of a backbone: one that is
missing or of another size is zeros. What does not fit is said with counts and names.
"""

from __future__ import annotations

import copy
import re
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lion_ray.backbones.checkpoints import Checkpoint, NumpyArchive, State

WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.")  # data parallel, compiled, Lightning, detectors
_UNSAVED = ".num_batches_tracked"  # old checkpoints lack it, and torch fills it in
_NAMES = re.compile(r'(Missing|Unexpected) key\(s\) in state_dict: ((?:"[^"]*"(?:, )?)+)')
_SHAPES = re.compile(
    r"size mismatch for (\S+): copying a param with shape torch\.Size\((.*?)\) from checkpoint, "
    r"the shape in current model is torch\.Size\((.*?)\)"
)

Make = Callable[..., nn.Module]
"""The study's model with its weights through timm; takes further arguments of `timm.create_model`."""


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """What keeps a checkpoint from being a model's weights, by names. `shapes` says the file's and the model's."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: Mapping[str, str]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)

    def outside(self, prefixes: tuple[str, ...]) -> Misfit:
        """Without what begins with one of `prefixes`."""

        def kept(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(name for name in names if not name.startswith(prefixes))

        shapes = {name: said for name, said in self.shapes.items() if not name.startswith(prefixes)}
        return Misfit(missing=kept(self.missing), unexpected=kept(self.unexpected), shapes=shapes)

    def __str__(self) -> str:
        parts = [
            ("missing", self.missing),
            ("not the model's", self.unexpected),
            ("of another shape", tuple(f"{name} {said}" for name, said in self.shapes.items())),
        ]
        return "; ".join(f"{len(names)} {what} ({_first(names)})" for what, names in parts if names)


def fitted(checkpoint: Checkpoint | NumpyArchive, model: nn.Module, make: Make) -> State:
    """The checkpoint's tensors under the names of `model`, all of them and no others.

    Args:
        model: a fresh one; it serves as the pattern, and its weights are spoilt where timm loads a `NumpyArchive`.
        make: makes it again through timm, which then loads what `pretrained_cfg_overlay` holds.

    Raises:
        ValueError: it does not fit, and how.
    """
    prefixes = _classifier(model)
    if isinstance(checkpoint, NumpyArchive):
        return _from_archive(checkpoint, model, prefixes)
    wanted = model.state_dict()
    for candidate in (checkpoint, unwrapped := _unwrapped(checkpoint, wanted)):
        misfit = compared(candidate, wanted)
        if not misfit:
            return dict(candidate)
    if not misfit.outside(prefixes):
        kept = {name: value for name, value in unwrapped.items() if name not in misfit.shapes}
        return {name: kept.get(name, torch.zeros_like(tensor)) for name, tensor in wanted.items()}
    return _through_timm(unwrapped, model, make, prefixes, misfit)


def compared(state: Checkpoint, wanted: Mapping[str, Tensor]) -> Misfit:
    """How `state` differs from a model's."""
    shapes = {
        name: f"{_shape(state[name])}, the model's is {_shape(tensor)}"
        for name, tensor in wanted.items()
        if name in state and _shape(state[name]) != _shape(tensor)
    }
    return Misfit(
        missing=tuple(name for name in wanted if name not in state and not name.endswith(_UNSAVED)),
        unexpected=tuple(name for name in state if name not in wanted),
        shapes=shapes,
    )


def not_finite(state: Mapping[str, Tensor]) -> str:
    """Which tensors hold NaN or infinity, and how many; empty if none does."""
    bad = {
        name: int((~tensor.isfinite()).sum())
        for name, tensor in state.items()
        if tensor.is_floating_point() and not bool(tensor.isfinite().all())
    }
    said = tuple(f"{name}: {count} of {state[name].numel()}" for name, count in bad.items())
    return f"{len(bad)} of its tensors hold NaN or infinity ({_first(said)})" if bad else ""


def _through_timm(
    unwrapped: Checkpoint, model: nn.Module, make: Make, prefixes: tuple[str, ...], plain: Misfit
) -> State:
    """First whole; where nothing but the classifier is in the way, once more without it."""
    overlay: dict[str, Any] = {"state_dict": dict(unwrapped)}
    misfit = _tried(make, overlay, plain)
    if isinstance(misfit, nn.Module):
        return misfit.state_dict()
    if misfit.outside(prefixes):
        raise ValueError(f"it does not fit the model: {misfit.outside(prefixes)}")
    classes = int(getattr(model, "num_classes", 0))  # another number in timm's record makes it leave the classifier out
    again = _tried(make, {**overlay, "num_classes": classes + 1}, plain, num_classes=classes)
    if isinstance(again, Misfit):
        raise ValueError(f"it does not fit the model: {again}")
    return {name: _zeros(t) if name.startswith(prefixes) else t for name, t in again.state_dict().items()}


def _tried(make: Make, overlay: dict[str, Any], plain: Misfit, **more: Any) -> nn.Module | Misfit:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of resampling, for developers of timm
            return make(pretrained_cfg_overlay=overlay, **more)
    except Exception as error:  # a model's filter meets whatever a stranger's checkpoint holds or lacks
        misfit = _parsed(str(error))
        if misfit:
            return misfit
        said = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ValueError(f"it does not fit the model: {plain}; timm's own loader says {said}") from error


def _parsed(message: str) -> Misfit:
    """torch's account of a state dict that does not fit."""
    names: dict[str, tuple[str, ...]] = {}
    for kind, quoted in _NAMES.findall(message):
        names[kind] = tuple(re.findall(r'"([^"]*)"', quoted))
    shapes = {
        name: f"{_digits(found)}, the model's is {_digits(wanted)}" for name, found, wanted in _SHAPES.findall(message)
    }
    return Misfit(missing=names.get("Missing", ()), unexpected=names.get("Unexpected", ()), shapes=shapes)


def _from_archive(archive: NumpyArchive, model: nn.Module, prefixes: tuple[str, ...]) -> State:
    """timm's loaders of `.npz` do not say what they filled, so everything is NaN before."""
    if not hasattr(model, "load_pretrained"):
        raise ValueError(f"timm reads no .npz for {type(model).__name__}")
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.fill_(torch.nan)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.npz"
        file.write_bytes(archive.payload)
        try:
            model.load_pretrained(str(file))  # type: ignore[operator]
        except Exception as error:  # as in `_tried`
            said = f"{type(error).__name__}: {' '.join(str(error).replace(str(file), 'it').split())[:200]}"
            raise ValueError(f"it does not fit the model: timm's own loader of .npz says {said}") from error
    state = model.state_dict()
    empty = {name for name, tensor in state.items() if tensor.is_floating_point() and bool(tensor.isnan().all())}
    lacking = Misfit(missing=tuple(name for name in state if name in empty), shapes={}).outside(prefixes)
    if lacking:
        raise ValueError(f"it does not fit the model: {lacking}")
    return {name: _zeros(tensor) if name in empty else tensor for name, tensor in state.items()}


def _unwrapped(checkpoint: Checkpoint, wanted: Mapping[str, Tensor]) -> Checkpoint:
    """Without the prefixes that wrappers put before every name and the model's own names do not have."""
    while True:
        shared = (prefix for prefix in WRAPPERS if all(name.startswith(prefix) for name in checkpoint))
        prefix = next((prefix for prefix in shared if not any(name.startswith(prefix) for name in wanted)), None)
        if prefix is None:
            return checkpoint
        checkpoint = {name.removeprefix(prefix): value for name, value in checkpoint.items()}


def _classifier(model: nn.Module) -> tuple[str, ...]:
    """What the names of the classifier's tensors begin with: features before it depend on none of them.

    They are those that timm's record names, and those that a model for features alone lacks.
    """
    named = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    recorded = {f"{name}." for name in ([named] if isinstance(named, str) else named)}
    headless = copy.deepcopy(model)
    headless.reset_classifier(0)  # type: ignore[operator]
    return tuple(sorted(recorded | (model.state_dict().keys() - headless.state_dict().keys())))


def _zeros(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor)


def _shape(value: Any) -> str:
    return "x".join(map(str, value.shape)) or "one number" if isinstance(value, Tensor) else type(value).__name__


def _digits(sizes: str) -> str:
    return "x".join(re.findall(r"\d+", sizes)) or "one number"


def _first(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
