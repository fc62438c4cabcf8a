"""lion_ray: LION implicit vision prompt tuning and its lottery tickets, on Ray.

`tickets` lists what a study has left, `load_ticket` makes a model of one, `predict` runs it on images; everything else
starts at `python -m lion_ray.pipeline`.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # `typing` takes longer to import than all that a command needs to mind signals
if TYPE_CHECKING:
    from typing import Any

    from lion_ray.report import tickets
    from lion_ray.ticket import load_ticket
    from lion_ray.ticket.prediction import predict

__version__ = "0.1.0"

_EXPORTS = {"load_ticket": "lion_ray.ticket", "predict": "lion_ray.ticket.prediction", "tickets": "lion_ray.report"}
__all__ = ["__version__", "load_ticket", "predict", "tickets"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'lion_ray' has no attribute '{name}'")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
