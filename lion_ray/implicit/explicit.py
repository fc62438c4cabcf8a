"""The ablation of the equilibrium: an explicit stack of copies of its cell, behind the same interface.

z_1 = f_1(0; u), z_l = f_l(z_{l-1}; u) for l = 2..depth, each copy with parameters of its own. Built by `methods.lion`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lion_ray.implicit.cells import Cell
from lion_ray.implicit.layer import DEFAULT_GAMMA, in_solve_precision
from lion_ray.implicit.projection import check_gamma, project_


class ExplicitLayer(nn.Module):
    """`cells` in a row on one input u. The first starts from zero, so its W never acts: it is frozen.

    Raises:
        ValueError: no cells, or gamma out of range.
    """

    def __init__(self, cells: list[Cell], *, gamma: float | None = DEFAULT_GAMMA) -> None:
        super().__init__()
        check_gamma(gamma)
        if not cells:
            raise ValueError("depth is 0: an explicit stack needs at least 1 cell")
        cells[0].W.requires_grad_(False)
        self.cells, self.gamma = nn.ModuleList(cells), gamma
        self.project_()

    def forward(self, u: Tensor) -> Tensor:
        """The last state (B, ...) for u (B, ...), in the dtype of u."""
        first, *others = self.stack
        with torch.autocast(u.device.type, enabled=False):
            x = in_solve_precision(u, first.W.dtype)
            z = first.start(first.inject(x))
            for cell in others:
                z = cell.step(z, cell.inject(x))
        return z.to(u.dtype)

    @property
    def stack(self) -> list[Cell]:
        """The cells, first to last."""
        return [cell for cell in self.cells if isinstance(cell, Cell)]

    def project_(self) -> None:
        """Bring every W back inside the bound, in place."""
        for cell in self.stack:
            project_(cell, self.gamma)

    def reset_health(self) -> None:
        """Nothing is solved, so nothing is counted."""

    def health(self) -> dict[str, float]:
        """`bound_used`, the largest of the stack; an explicit stack has no residual."""
        bound = max(float(cell.bound()) for cell in self.stack)
        return {"bound_used": bound / (1.0 if self.gamma is None else self.gamma)}
