"""Whether each method of a study can be had on its backbone, tried on one image before anything starts.

What timm's models and torch raise on an odd backbone, size or option has no end of kinds; all of it becomes one line
here. `pipeline` calls `check` and keeps in the study's store which trials have passed, so a resume repeats nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn

from lion_ray.backbones import Backbone, NoSuchMaps
from lion_ray.config import MethodConfig, StudyError
from lion_ray.methods.model import AdaptedModel
from lion_ray.methods.tuning import NotApplicable

LOGGER = logging.getLogger(__name__)
EDITION = 1  # raised when a trial asks for more
STEPS = 2  # what a step leaves behind, such as a cache, shows in the next
Build = Callable[[MethodConfig, Backbone], AdaptedModel]


class Failed(Exception):
    """Something of timm's or torch's has failed; the message is one line, the cause is theirs."""


def _anything(method: str) -> str:
    return "what the method puts into it"


def trial_digest(config: MethodConfig, options: Mapping[str, Any], backbone: Mapping[str, Any]) -> str:
    """What names a trial: everything that its answer can depend on. `backbone` says its name, size and transform."""
    told = {
        "edition": EDITION,
        "method": {"name": config.name, **options},
        "backbone": backbone,
        "versions": {name: version(name) for name in ("timm", "torch")},
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]


def problem_of_backbone(backbone: Backbone) -> str | None:
    """Why the frozen backbone cannot be run at its image size, in one line."""
    try:
        with _border(), torch.no_grad():
            features = backbone(_image(backbone))
    except Failed as error:
        return f"cannot be run at {backbone.transform.size} px: {error}"
    if features.dim() != 2 or features.shape != (1, backbone.num_features):
        return f"gives features of shape {tuple(features.shape)}, not (1, {backbone.num_features})"
    return None


def problem_of(
    config: MethodConfig, backbone: Backbone, build: Build, *, brings: Callable[[str], str] = _anything
) -> str | None:
    """Why the method cannot be had on this backbone, which itself can be run, in one line.

    Args:
        brings: from a method's name to what it puts into the backbone (see `registry.Method`).
    """
    try:
        with _border():
            model = build(config, backbone)
            unreached = _trained(model, _image(backbone))
    except (NotApplicable, NoSuchMaps) as reason:
        why = str(reason)
    except Failed as error:
        why = f"{_place(error)} does not run with {brings(config.name)} at {backbone.transform.size} px"
        if _is_of_memory(error):
            return f"'{config.name}' cannot be tried on {backbone.name}: there is not enough memory for one image"
    else:
        if not unreached:
            return None
        why = f"it would never train {_some(unreached)}"
    return f"'{config.name}' does not apply to {backbone.name}: {why}"


def check_each(
    configs: Sequence[MethodConfig],
    make_backbone: Callable[[], Backbone],
    digest_of: Callable[[MethodConfig], str],
    build: Build,
    *,
    source: str,
    advice: Callable[[], str] = str,
    brings: Callable[[str], str] = _anything,
    has_passed: Callable[[str], bool] = lambda digest: False,
    on_passed: Callable[[str], None] = lambda digest: None,
) -> None:
    """Try each distinct method entry; those that have passed before are not tried again.

    Args:
        digest_of: names a trial (see `trial_digest`).
        advice: what to say of a backbone that cannot be run, such as the sizes that do.
        brings: as for `problem_of`.
        has_passed, on_passed: ask for and write down the trials that passed, by digest.

    Raises:
        StudyError: the backbone cannot be run, or a method cannot be had on it.
    """
    digests = {index: digest_of(config) for index, config in enumerate(configs)}
    first = {digest: index for index, digest in reversed(digests.items())}
    left = [index for digest, index in sorted(first.items(), key=lambda each: each[1]) if not has_passed(digest)]
    if not left:
        return
    try:
        with _border():
            backbone = make_backbone()
    except Failed as error:
        raise StudyError(source, "backbone", f"cannot be run at this image size: {error}{advice()}") from error
    if problem := problem_of_backbone(backbone):
        raise StudyError(source, "backbone", f"{backbone.name} {problem}{advice()}")
    for index in left:
        if problem := problem_of(configs[index], backbone, build, brings=brings):
            raise StudyError(source, f"methods.{index}", problem)
        on_passed(digests[index])


def _trained(model: AdaptedModel, image: Tensor) -> list[str]:
    """Two steps; the trained tensors that no gradient has reached."""
    parameters = list(model.trained().values())
    optimizer = torch.optim.SGD(parameters, lr=1e-3)
    for step in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.cross_entropy(model(image), torch.tensor([step % 2])))
        if step == 0:
            unreached = [name for name, parameter in model.trained().items() if parameter.grad is None]
        optimizer.step()
        model.project_()
    return unreached


def _image(backbone: Backbone) -> Tensor:
    size = backbone.transform.size
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + f" and {len(names) - 3} more" * (len(names) > 3)


def _place(error: Failed) -> str:
    """What has failed: the innermost file of timm's on the way there, if there is one."""
    frames = traceback.extract_tb(error.__cause__.__traceback__ if error.__cause__ else None)
    files = [frame.filename for frame in frames if "timm" in PurePath(frame.filename).parts]
    LOGGER.debug("a method does not run", exc_info=error)
    return f"timm's code ({PurePath(files[-1]).name})" if files else "its forward or backward pass"


def _is_of_memory(error: Failed) -> bool:
    cause = error.__cause__
    return isinstance(cause, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(cause)


@contextmanager
def _border() -> Iterator[None]:
    """The border to models that others have written: whatever they raise is a `Failed`."""
    try:
        yield
    except (NotApplicable, NoSuchMaps, StudyError):
        raise
    except Exception as error:
        raise Failed(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")) from error
