"""A ticket's fingerprint: the logits of one fixed batch, measured when the ticket was packed.

The batch is arithmetic, so any program can make it: pixel i of the uint8 array (4, S, S, 3), in row-major order, is
the highest byte of the 32-bit number `i * 2654435761`. The logits are measured on the CPU, with the precision and the
number of threads that the header's `numeric` names. The same machine repeats them bit for bit; other CPUs and torch
versions agree up to round-off. `lion_ray.trial` measures them, and `lion-ray verify` compares them.
"""

from __future__ import annotations

import dataclasses
import platform

import numpy as np
import torch
from torch import Tensor

from lion_ray.methods import AdaptedModel
from lion_ray.ticket.checking import BATCH, NumericFields, TicketError
from lion_ray.ticket.format import Ticket


@dataclasses.dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a model's logits are from a ticket's fingerprint.

    `is_exact` says that all bits are equal. `max_difference` is the largest absolute difference of two logits, and
    `scale` the fingerprint's largest absolute logit.
    """

    is_exact: bool
    max_difference: float
    scale: float


def fixed_images(size: int) -> np.ndarray:
    """The fixed batch as decoded pixels, uint8 (4, size, size, 3)."""
    index = np.arange(BATCH * size * size * 3, dtype=np.uint64)
    return (index * 2654435761 % 2**32 >> 24).astype(np.uint8).reshape(BATCH, size, size, 3)


def measure(model: AdaptedModel) -> Tensor:
    """The logits of the fixed batch, float32 (4, classes). `model` must be on the CPU and in evaluation mode."""
    transform = model.body.backbone.transform
    with torch.no_grad():
        logits: Tensor = model(transform.normalised(fixed_images(transform.size), torch.device("cpu")))
    return logits.float().clone()


def verify(ticket: Ticket, model: AdaptedModel) -> Agreement:
    """Compare the logits of a ticket's model with the ticket's fingerprint.

    Args:
        ticket: an opened ticket.
        model: the model that `model_of(ticket)` returns.

    Raises:
        TicketError: the ticket has no fingerprint, or one of another shape.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(NumericFields.model_validate({"threads": threads, **ticket.header.numeric}).threads)
    try:
        logits = measure(model)
    finally:
        torch.set_num_threads(threads)
    if ticket.fingerprint is None or ticket.fingerprint.shape != logits.shape:
        raise TicketError("the ticket has no fingerprint of this model's shape")
    difference = float((logits - ticket.fingerprint).abs().max())
    scale = float(ticket.fingerprint.abs().max())
    return Agreement(is_exact=torch.equal(logits, ticket.fingerprint), max_difference=difference, scale=scale)


def numeric_settings() -> dict[str, object]:
    """What the bits of logits depend on, for a header: torch's version, instruction set, machine and threads."""
    return {
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
    }
