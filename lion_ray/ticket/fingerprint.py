"""A ticket's own proof: the logits of one fixed batch, measured when it was packed, bit for bit on the same machine.

The batch is arithmetic, so any program can make it: pixel i of the uint8 array (4, S, S, 3), in row-major order, is the
highest byte of the 32-bit number `i * 2654435761`. It is measured through `loading.model_of`, on the CPU, in the
precision and at the thread count that the header's `numeric` names; other CPUs and torch versions agree to round-off.
"""

from __future__ import annotations

import dataclasses
import platform
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lion_ray.methods import AdaptedModel
from lion_ray.ticket.checking import BATCH, TicketError
from lion_ray.ticket.format import Ticket


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a model's logits are from the fingerprint: not at all, or at most `max_difference`.

    `scale` is the fingerprint's largest absolute logit.
    """

    is_exact: bool
    max_difference: float
    scale: float


def fixed_images(size: int) -> np.ndarray:
    """The batch, uint8 (4, size, size, 3)."""
    index = np.arange(BATCH * size * size * 3, dtype=np.uint64)
    return (index * 2654435761 % 2**32 >> 24).astype(np.uint8).reshape(BATCH, size, size, 3)


def measure(model: AdaptedModel) -> Tensor:
    """The batch's logits, float32 (4, classes) on the CPU; `model` is on the CPU in evaluation mode."""
    transform = model.body.backbone.transform
    with torch.no_grad():
        logits: Tensor = model(transform.normalised(fixed_images(transform.size), torch.device("cpu")))
    return logits.float().clone()


def verify(ticket: Ticket, model: AdaptedModel) -> Agreement:
    """Compare `model`, as `model_of(ticket)` gives it, with the ticket's fingerprint.

    Raises:
        TicketError: the ticket carries none, or one of another shape.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(int(ticket.header.numeric.get("threads", threads)))
    try:
        logits = measure(model)
    finally:
        torch.set_num_threads(threads)
    if ticket.fingerprint is None or ticket.fingerprint.shape != logits.shape:
        raise TicketError("the ticket has no fingerprint of this model's shape")
    difference = float((logits - ticket.fingerprint).abs().max())
    scale = float(ticket.fingerprint.abs().max())
    return Agreement(is_exact=torch.equal(logits, ticket.fingerprint), max_difference=difference, scale=scale)


def numeric_settings() -> dict[str, Any]:
    """What the bits depend on, for the header: torch, its kernels' instruction set, the machine, the threads."""
    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
