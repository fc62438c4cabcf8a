"""The arithmetic of a solve: fp32 (or float64) as written, whatever surrounds it.

Autocast would round products to 8 bits of mantissa and TF32, cuDNN's default for convolutions, to 10: the residual then
stalls near 1e-3, above the default tolerance. `layer` and the backward pass enter here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """No autocast, and on CUDA no TF32, inside; what was set before comes back, after an error too."""
    backends: Any = torch.backends
    places = (backends.cudnn.conv, backends.cuda.matmul) if device.type == "cuda" else ()
    before = [place.fp32_precision for place in places]
    try:
        for place in places:
            place.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for place, precision in zip(places, before, strict=True):
            place.fp32_precision = precision
