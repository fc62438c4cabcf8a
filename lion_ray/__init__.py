"""lion_ray: LION implicit vision prompt tuning and its lottery tickets, on Ray.

`load_ticket` gives a trained model back; everything else starts at `python -m lion_ray.pipeline`.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {"load_ticket": "lion_ray.ticket"}
__all__ = ["__version__", "load_ticket"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'lion_ray' has no attribute '{name}'")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
