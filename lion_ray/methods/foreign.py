"""Errors of timm and torch as one kind: whatever they raise on an odd backbone, size or option is a `Failed`.

`lion_ray.methods.checking` runs every trial inside `border`.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath

import torch

from lion_ray.backbones import NoSuchMaps
from lion_ray.config import StudyError
from lion_ray.methods.tuning import NotApplicable

LOGGER = logging.getLogger(__name__)


class Failed(Exception):
    """Something of timm's or torch's has failed; the message is one line, the cause is theirs."""


@contextmanager
def border() -> Iterator[None]:
    """Turn whatever is raised inside into a `Failed`, but what this project itself has to say."""
    try:
        yield
    except (Failed, NotApplicable, NoSuchMaps, StudyError):
        raise
    except Exception as error:
        raise Failed(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")) from error


def place_of(error: Failed) -> str:
    """What has failed: the innermost file of timm's on the way there, if there is one."""
    frames = traceback.extract_tb(error.__cause__.__traceback__ if error.__cause__ else None)
    files = [frame.filename for frame in frames if "timm" in PurePath(frame.filename).parts]
    LOGGER.debug("a method does not run", exc_info=error)
    return f"timm's code ({PurePath(files[-1]).name})" if files else "its forward or backward pass"


def is_of_memory(error: Failed) -> bool:
    """Whether there was not enough memory."""
    cause = error.__cause__
    return isinstance(cause, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(cause)
