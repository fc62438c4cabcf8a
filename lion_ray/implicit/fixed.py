"""The equilibrium as a fixed number of Picard steps, for exported graphs, which have no data-dependent loops.

`lion_ray.ticket.serving` replaces each `ImplicitLayer` by a `FixedSteps` with the same cell.
"""

from __future__ import annotations

from torch import Tensor, nn

from lion_ray.implicit.cells import Cell
from lion_ray.implicit.layer import ImplicitLayer
from lion_ray.implicit.solvers import check_settings
from lion_ray.implicit.steps import evaluations_needed


class FixedSteps(nn.Module):
    """Apply f `num_steps` times to f(0; u). Input u (B, ...) and output z (B, ...) are fp32.

    Raises:
        ValueError: `num_steps` is below 1.
    """

    def __init__(self, cell: Cell, num_steps: int) -> None:
        super().__init__()
        check_settings(tolerance=1.0, max_steps=num_steps)
        self.cell, self.num_steps = cell, num_steps

    def forward(self, u: Tensor) -> Tensor:
        """The last state (B, ...). It is within a layer's tolerance if `num_steps` is `steps_needed(layer)`."""
        injected = self.cell.inject(u)
        z = self.cell.start(injected)
        for _ in range(self.num_steps):
            z = self.cell.step(z, injected)
        return z


def steps_needed(layer: ImplicitLayer) -> int:
    """The number of Picard steps after which every input is within the layer's tolerance, by the bound of its W.

    It is at most the layer's `max_steps`. If the bound is 1 or more, no number is known, and `max_steps` is returned.
    """
    bound = float(layer.cell.bound())
    if bound >= 1:
        return layer.max_steps
    return min(evaluations_needed(bound, layer.tolerance), layer.max_steps)
