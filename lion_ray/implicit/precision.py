"""Exact fp32 (or float64) arithmetic inside a solve, whatever autocast and TF32 settings are active outside.

Autocast to bf16 rounds products to 8 bits of mantissa, and TF32, cuDNN's default for convolutions, rounds them to 10.
The residual then stalls near 1e-3, above the default tolerance. `layer` and `gradients` run their solves inside
`exact_products`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def exact_products(device: torch.device) -> Iterator[None]:
    """Disable autocast on `device`, and TF32 on CUDA, inside the block. The settings before are restored at its end."""
    backends: Any = torch.backends
    settings = (backends.cudnn.conv, backends.cuda.matmul) if device.type == "cuda" else ()
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for setting, precision in zip(settings, before, strict=True):
            setting.fp32_precision = precision
