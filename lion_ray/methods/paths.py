"""Which hidden units of a prompt's cells can matter: paths from the input through U and W to the output through V.

A unit is heard if surviving weights lead from it to V's output, and varies if they lead from the input to it. A unit
that does not vary is a constant: in a linear cell it only shifts what biases shift anyway; in a convolution zero
padding makes it depend on its position. `prompts` counts by it what can act, `ticket.compact` removes by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Units:
    """The units (d,) of one cell, boolean."""

    heard: Tensor
    varying: Tensor
    is_linear: bool

    @property
    def acting(self) -> Tensor:
        """Those whose weights can change the logits by more than biases can."""
        return self.heard & self.varying if self.is_linear else self.heard


def units_of(
    cells: Sequence[tuple[Tensor, Tensor]], written: Tensor, *, groups: int, is_recurrent: bool
) -> list[Units]:
    """Of each cell, given by W and U, first to last; `written` (d,): the units of the last cell that V reads.

    Args:
        is_recurrent: the only cell's W reads its own state; else each cell's reads the state of the one before.
    """
    reads = [_reads(W, groups) for W, _ in cells]
    fed = [(U != 0).flatten(1).any(1) for _, U in cells]
    if is_recurrent:
        heard, varying = [_closure(written, reads[0].t())], [_closure(fed[0], reads[0])]
    else:
        heard, varying = [written], [fed[0]]
        for later in reversed(reads[1:]):
            heard.insert(0, (later & heard[0][:, None]).any(0))
        for later, own in zip(reads[1:], fed[1:], strict=True):
            varying.append(own | (later & varying[-1]).any(1))
    is_linear = cells[0][0].dim() == 2
    return [Units(heard=one, varying=other, is_linear=is_linear) for one, other in zip(heard, varying, strict=True)]


def has_path(units: Sequence[Units]) -> bool:
    """Whether anything leads from the input to the output."""
    return any(bool((each.heard & each.varying).any()) for each in units)


def ranks_heard(V: Tensor, R: Tensor) -> Tensor:
    """Of a low-rank read-out `V R`, which of the r ranks can carry anything."""
    return (V != 0).any(0) & (R != 0).any(1)


def written_units(V: Tensor, R: Tensor | None, num_units: int) -> Tensor:
    """Which units (d,) V's output reads, through R where there is one (see `prompts`)."""
    if R is not None:
        return (R[ranks_heard(V, R)] != 0).reshape(-1, num_units, R.shape[1] // num_units).any(2).any(0)
    return (V != 0).any(0) if V.dim() == 2 else (V != 0).flatten(1).any(1)


def edges(units: Tensor, before: Tensor, W: Tensor, groups: int) -> Tensor:
    """Of W's shape: whether its entry leads from one of the units `before` to one of `units`."""
    if W.dim() == 2:
        return units[:, None] & before
    size = len(W) // groups
    of_group = before.reshape(groups, size).repeat_interleave(size, dim=0)  # (d, d / groups), as W's columns count
    return (units[:, None] & of_group)[:, :, None, None].expand(W.shape)


def _reads(W: Tensor, groups: int) -> Tensor:
    """[i, j]: unit i reads unit j through W; (d, d) boolean."""
    if W.dim() == 2:
        return W != 0
    inside = (W != 0).flatten(2).any(2)  # (d, d / groups): columns count inside the group
    size = len(W) // groups
    reads = torch.zeros(len(W), len(W), dtype=torch.bool, device=W.device)
    for start in range(0, len(W), size):
        reads[start : start + size, start : start + size] = inside[start : start + size]
    return reads


def _closure(start: Tensor, reads: Tensor) -> Tensor:
    """All units i with a path to `start` along `reads[i, j]`, `start` included."""
    found = start
    while True:
        wider = found | (reads & found).any(1)
        if torch.equal(wider, found):
            return found
        found = wider
