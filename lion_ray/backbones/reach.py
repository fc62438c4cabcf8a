"""What a backbone's pooled features depend on: a head for distillation or an auxiliary one is there, and no part of it.

Followed on autograd's graph of one forward pass, so no list of names has to be right, and no number is computed for it.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.autograd.graph import Node


def watched(model: nn.Module) -> dict[str, nn.Parameter]:
    """Put trainable parameters with the same numbers in the place of all of `model`'s; by name, shared ones by each."""
    own: dict[int, nn.Parameter] = {}
    found: dict[str, nn.Parameter] = {}
    for name, parameter in list(model.named_parameters(remove_duplicate=False)):
        found[name] = own.setdefault(id(parameter), nn.Parameter(parameter.detach()))
        place, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(place), leaf, found[name])
    return found


def leaves(output: Tensor) -> set[int]:
    """The ids of all trainable tensors from which `output` was computed."""
    found, seen = set[int](), set[Node | None]()
    left: list[Node | None] = [output.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)  # of the nodes that accumulate a leaf's gradient
        if variable is not None:
            found.add(id(variable))
        left += [following for following, _ in node.next_functions]
    return found
