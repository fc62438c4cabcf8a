"""The equilibrium as a fixed number of Picard steps: no loop whose length depends on the data, as a served graph needs.

`ticket.serving` puts it in the place of an `ImplicitLayer`, with the same cell.
"""

from __future__ import annotations

from torch import Tensor, nn

from lion_ray.implicit.cells import Cell
from lion_ray.implicit.layer import ImplicitLayer
from lion_ray.implicit.solvers import check_settings
from lion_ray.implicit.steps import evaluations_needed


class FixedSteps(nn.Module):
    """f applied `num_steps` times to f(0; u): u (B, ...) to z (B, ...), both fp32. ValueError below 1 step."""

    def __init__(self, cell: Cell, num_steps: int) -> None:
        super().__init__()
        check_settings(tolerance=1.0, max_steps=num_steps)
        self.cell, self.num_steps = cell, num_steps

    def forward(self, u: Tensor) -> Tensor:
        """The last state; within a layer's tolerance of the equilibrium if `num_steps` is `steps_needed` of it."""
        injected = self.cell.inject(u)
        z = self.cell.start(injected)
        for _ in range(self.num_steps):
            z = self.cell.step(z, injected)
        return z


def steps_needed(layer: ImplicitLayer) -> int:
    """Picard steps after which every input is within the layer's tolerance, by the bound that its W has (see `picard`).

    At most the layer's own `max_steps`, which is also the answer where W has no bound below 1 and nothing is known.
    """
    bound = float(layer.cell.bound())
    if bound >= 1:
        return layer.max_steps
    return min(evaluations_needed(bound, layer.tolerance), layer.max_steps)
