"""How a backbone's tensors lie in memory, and where."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def channels_last(model: nn.Module) -> nn.Module:
    """In the layout in which convolutions are fast; torch refuses it to a model with any of three dimensions."""
    has_more = any(parameter.dim() > 4 for parameter in model.parameters())
    return model if has_more else model.to(memory_format=torch.channels_last)


def host_copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU; a parameter stays one."""
    copied = tensor.detach().to("cpu", copy=True)
    return nn.Parameter(copied, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copied
