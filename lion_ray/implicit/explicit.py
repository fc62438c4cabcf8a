"""The ablation of the equilibrium layer: an explicit stack of cells with the interface of `ImplicitLayer`.

z_1 = f_1(0; u) and z_l = f_l(z_{l-1}; u) for l = 2..depth. Each cell has its own parameters. `lion_ray.methods.lion`
builds it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lion_ray.implicit.cells import Cell
from lion_ray.implicit.layer import DEFAULT_GAMMA, in_solve_precision
from lion_ray.implicit.projection import check_gamma, project_


class ExplicitLayer(nn.Module):
    """A stack of cells that all read the same input u. The first cell starts from zero, so its unused W is frozen.

    Args:
        cells: the cells, first to last; at least one.
        gamma: the bound of every W in (0, 1); None leaves the cells unconstrained.

    Raises:
        ValueError: there are no cells, or gamma is out of range.
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
        """The state (B, ...) of the last cell for the input u (B, ...), in the dtype of u."""
        first, *others = self.stack
        with torch.autocast(u.device.type, enabled=False):
            x = in_solve_precision(u, first.W.dtype)
            z = first.start(first.inject(x))
            for cell in others:
                z = cell.step(z, cell.inject(x))
        return z.to(u.dtype)

    @property
    def stack(self) -> list[Cell]:
        """The cells, first to last, with their type."""
        return [cell for cell in self.cells if isinstance(cell, Cell)]

    def project_(self) -> None:
        """Project every W to the bound, in place."""
        for cell in self.stack:
            project_(cell, self.gamma)

    def reset_health(self) -> None:
        """Do nothing: there is no solve to count."""

    def health(self) -> dict[str, float]:
        """The figure `bound_used`, the largest ||W||_inf / gamma of the stack. There is no residual to report."""
        bound = max(float(cell.bound()) for cell in self.stack)
        return {"bound_used": bound / (1.0 if self.gamma is None else self.gamma)}
