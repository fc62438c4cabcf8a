"""Files of weights as people publish and keep them, read without unpickling anything but tensors.

What a file is says its content, not its name: PyTorch's archives and older pickles (`.pth`, `.bin`, `.pth.tar`),
safetensors, and Google's `.npz`. Tensors are found under `state_dict`, `model` or an average of the weights (EMA), and
half precision becomes fp32. `fitting` puts them into timm's names.
"""

from __future__ import annotations

import argparse
import io
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from lion_ray.store import open_url

State = dict[str, Tensor]
Checkpoint = Mapping[str, Any]  # names to tensors, as they lie in the file; a few models nest them once more

AVERAGES = ("state_dict_ema", "model_ema")  # timm prefers them too
HOLDERS = (*AVERAGES, "state_dict", "model", "model_state_dict", "module")
_HALF = (torch.float16, torch.bfloat16)
_WEB_PAGE = re.compile(rb"\s*<(!doctype|html|\?xml)", re.IGNORECASE)
_BLOCKED = re.compile(r"GLOBAL ([\w.]+)")


@dataclass(frozen=True, kw_only=True)
class NumpyArchive:
    """Google's `.npz`: a model's own loader in timm knows what its arrays are."""

    payload: bytes


def read_checkpoint(url: str) -> Checkpoint | NumpyArchive:
    """The weights at any fsspec URL.

    Raises:
        OSError: it cannot be read.
        ValueError: it is empty, cut off, damaged or holds no weights; the message says which.
    """
    local = Path(url.removeprefix("file://"))
    if local.exists() and not local.is_file():
        raise ValueError("it is no regular file")
    with open_url(url) as file:
        payload = file.read()
    return parsed_checkpoint(payload)


def parsed_checkpoint(payload: bytes) -> Checkpoint | NumpyArchive:
    """What `payload` holds. Raises ValueError as `read_checkpoint` does."""
    if not payload:
        raise ValueError("it is empty")
    if payload.startswith(b"version https://git-lfs"):
        raise ValueError("it is a Git LFS pointer in the place of the weights; run: git lfs pull")
    if _WEB_PAGE.match(payload):
        raise ValueError("it is a web page (of a login or an error, say) in the place of the weights")
    if payload.startswith(b"PK"):
        return _archive(payload)
    if payload[8:9] == b"{":
        return _of_safetensors(payload)
    if payload.startswith(b"\x80"):
        return _of_torch(payload)
    raise ValueError("it is none of the files that hold weights (.pth, .safetensors, Google's .npz), or damaged")


def _archive(payload: bytes) -> Checkpoint | NumpyArchive:
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
        raise ValueError(f"it is cut off or damaged: {error}") from error
    if names and all(name.endswith(".npy") for name in names):
        return _numpy_archive(payload)
    return _of_torch(payload)


def _numpy_archive(payload: bytes) -> NumpyArchive:
    """Whole and without pickles, so that whoever opens it again meets neither."""
    try:
        with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
            for name in arrays.files:
                arrays[name]
    except Exception as error:  # a damaged member ends in whatever zipfile, zlib or numpy's parser of headers raises
        raise ValueError(f"it is a damaged .npz, or holds more than arrays: {_line(error)}") from error
    return NumpyArchive(payload=payload)


def _of_safetensors(payload: bytes) -> Checkpoint:
    try:
        return checked(load_safetensors(payload))
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that torch does not know
        raise ValueError(f"it is cut off or a damaged safetensors file: {_line(error)}") from error


def _of_torch(payload: bytes) -> Checkpoint:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):  # scripts keep their arguments in it, as `args`
            content = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        blocked = _BLOCKED.search(str(error))
        if blocked is None:
            raise ValueError("it is cut off or damaged: torch cannot read it") from error
        more = "the file holds more than tensors"
        raise ValueError(f"{more} ({blocked[1]}); save a plain state dict, best as .safetensors") from error
    except Exception as error:  # a damaged file ends in whatever torch's readers and its unpickler meet first
        raise ValueError(f"it is cut off or damaged, torch cannot read it: {_line(error)}") from error
    return checked(content)


def checked(content: Any) -> Checkpoint:
    """The named tensors in what a file holds, in at least 32 bits.

    Raises:
        ValueError: there are none.
    """
    found = _unwrapped(content)
    if not isinstance(found, Mapping):
        what = "a single tensor" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ValueError(f"it holds {what} in the place of named tensors")
    kept = {str(name): _at_least_fp32(value) for name, value in found.items()}
    parts = [part for value in kept.values() for part in (value.values() if isinstance(value, Mapping) else [value])]
    if not any(isinstance(part, Tensor) for part in parts):
        entries = ", ".join(f"'{name}'" for name in list(kept)[:3]) or "nothing"
        raise ValueError(f"it holds no named tensors, but {entries}")
    return kept


def _unwrapped(content: Any) -> Any:
    while isinstance(content, Mapping):
        holder = next((name for name in HOLDERS if isinstance(content.get(name), Mapping)), None)
        if holder is None:
            break
        content = content[holder]
    return content


def _at_least_fp32(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in _HALF else value
    return {name: _at_least_fp32(part) for name, part in value.items()} if isinstance(value, Mapping) else value


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
