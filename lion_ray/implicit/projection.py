"""The bound that makes an equilibrium well posed: every row of W has 1-norm at most gamma < 1.

`layer.ImplicitLayer.project_` runs the projection after every optimizer step and every mask. W is changed in place, so
the stored weights are the used weights. The projection only shrinks weights: a pruned weight stays exactly 0, and no
weight changes its sign.
"""

from __future__ import annotations

import torch

from lion_ray.implicit.cells import Cell

# Margin for the rounding of the scaled weights and of their sum, in units of the dtype's epsilon.
GUARD = 16


def check_gamma(gamma: float | None) -> None:
    """Raise ValueError unless gamma lies in (0, 1) or is None, which stands for the unconstrained ablation."""
    if gamma is not None and not 0 < gamma < 1:
        raise ValueError(f"gamma is {gamma}: a bound lies in (0, 1); None leaves the cell unconstrained")


@torch.no_grad()
def project_(cell: Cell, gamma: float | None) -> None:
    """Multiply each row of W in place by min(1, gamma / ||row||_1). Rows inside the bound keep their bits.

    Afterwards `cell.bound() <= gamma` holds in floating point, and a second call changes nothing. A non-finite row is
    not changed, so that the solver reports it. Nothing is changed if gamma is None.
    """
    check_gamma(gamma)
    if gamma is None:
        return
    rows = cell.W.flatten(1)
    sums = rows.double().abs().sum(1, keepdim=True)
    target = gamma * (1 - GUARD * torch.finfo(rows.dtype).eps)
    scaled = (rows.double() * (target / sums)).to(rows.dtype)
    outside = sums.isfinite() & (sums > gamma)
    cell.W.copy_(torch.where(outside, scaled, rows).reshape(cell.W.shape))
