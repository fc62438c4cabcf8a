"""What a training step runs of a model: its trained part, which with an auxiliary loss gives the prompt's logits too.

A module of its own because a team wraps modules, and gradients are averaged over the workers in their `forward`.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lion_ray.methods.model import AdaptedModel, Head


def step_module(model: AdaptedModel) -> nn.Module:
    """`model.trained_part`, or with an auxiliary loss the same with the logits of `Head.both`."""
    return _Both(model.trained_part) if model.head.auxiliary else model.trained_part


def losses(outputs: Tensor, labels: Tensor, auxiliary: float) -> tuple[Tensor, Tensor, Tensor]:
    """What a step minimises, the loss that is reported, and the logits (B, num_classes); losses are sums over B.

    Args:
        outputs: of `step_module`, (B, num_classes) or with an `auxiliary` weight (B, 2, num_classes).
    """
    if not auxiliary:
        loss = cross_entropy(outputs, labels, reduction="sum")
        return loss, loss, outputs
    logits, of_prompt = outputs.unbind(1)
    loss = cross_entropy(logits, labels, reduction="sum")
    return loss + auxiliary * cross_entropy(of_prompt, labels, reduction="sum"), loss, logits


class _Both(nn.Module):
    def __init__(self, part: Head | AdaptedModel) -> None:
        super().__init__()
        self.part = part

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 2, num_classes)."""
        if isinstance(self.part, Head):
            return self.part.both(inputs)
        return self.part.head.both(self.part.body(inputs))
